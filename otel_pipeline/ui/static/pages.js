// Comfort for pages that are complete without it: keys, zoom, search, details in place, copying. Text goes in as text only.
"use strict";
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const fall = one("#waterfall");
  const address = () => new URL(location.href);
  const replace = (url) => history.replaceState(history.state, "", url);

  // --- copying
  const copy = async (text, shown) => {
    await navigator.clipboard.writeText(text);
    shown?.classList.add("copied");
    setTimeout(() => shown?.classList.remove("copied"), 1200);
  };
  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-copy]");
    if (target && !event.target.closest("a")) copy(target.dataset.copy, target).catch(() => {});
  });

  // --- rows: a table of requirements or a waterfall
  const rows = () => all(fall ? ".row[role=row]" : "[data-rows] tbody tr").filter((row) => !row.hidden);
  let current = null;
  const focus = (row) => {
    if (!row) return;
    if (current) current.tabIndex = -1;
    current = row;
    row.tabIndex = 0;
    row.focus();
    row.scrollIntoView({ block: "nearest" });
  };
  const step = (by) => {
    const list = rows();
    const at = list.indexOf(current);
    focus(list[Math.min(list.length - 1, Math.max(0, at + by))]);
  };
  const childrenOf = new Map();
  if (fall) {
    for (const row of all(".row[data-parent]", fall)) {
      const key = row.dataset.parent;
      if (!childrenOf.has(key)) childrenOf.set(key, []);
      childrenOf.get(key).push(row);
    }
    const first = one(".row[role=row]", fall);
    if (first) first.tabIndex = 0;
  }
  const open = (row, wanted) => {
    if (!row.hasAttribute("aria-expanded")) return;
    row.setAttribute("aria-expanded", String(wanted));
    const sign = one(".toggle", row);
    if (sign) sign.textContent = wanted ? "▾" : "▸";
    const pending = [...(childrenOf.get(row.dataset.key) ?? [])];
    const seen = new Set([row]);
    while (pending.length) {
      const child = pending.pop();
      if (seen.has(child)) continue;
      seen.add(child);
      child.hidden = !wanted;
      if (wanted && child.getAttribute("aria-expanded") === "false") continue;
      pending.push(...(childrenOf.get(child.dataset.key) ?? []));
    }
  };
  const isOpen = (row) => row.getAttribute("aria-expanded") === "true";
  fall?.addEventListener("click", (event) => {
    const row = event.target.closest(".row[role=row]");
    if (!row) return;
    const link = event.target.closest("a");
    if (row.hasAttribute("data-span") && (link || event.target.closest(".lane"))) {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      details(row);
    } else if (!link) {
      open(row, !isOpen(row));
    }
    focus(row);
  });

  // --- details of a span, fetched when asked for
  const element = (name, text, properties = {}) => Object.assign(document.createElement(name), { textContent: text }, properties);
  const pairs = (values) => {
    const table = element("table", "", { className: "pairs" });
    for (const key of Object.keys(values).sort()) {
      const value = values[key];
      const line = table.insertRow();
      line.append(element("th", key, { scope: "row" }), element("td", typeof value === "string" ? value : JSON.stringify(value)));
    }
    return table;
  };
  let asked = "";
  const details = async (row) => {
    const panel = one("#details");
    const id = row.dataset.key;
    asked = id;
    const answer = await fetch(`/api/traces/${encodeURIComponent(fall.dataset.trace)}/spans/${encodeURIComponent(id)}`);
    if (!answer.ok || asked !== id) return;
    const span = await answer.json();
    all(".selected", fall).forEach((each) => each.classList.remove("selected"));
    row.classList.add("selected");
    const parts = [element("h2", span.name), element("p", `${span.span_id} · ${span.seconds} s`)];
    if (span.message) parts.push(element("p", span.message, { className: "error" }));
    parts.push(element("h3", "attributes"), pairs(span.attributes), element("h3", "resource"), pairs(span.resource));
    for (const event of span.events) parts.push(element("h4", event.name), pairs(event.attributes));
    for (const link of span.links) {
      const way = element("a", `→ ${link.trace_id.slice(0, 16)}`);
      way.href = `/traces/${encodeURIComponent(link.trace_id)}?span=${encodeURIComponent(link.span_id)}`;
      parts.push(way);
    }
    panel.replaceChildren(...parts);
    panel.hidden = false;
    const url = address();
    url.searchParams.set("span", id);
    replace(url);
  };

  // --- zoom: a window of the drawn width, 0 to 100; its state is in the address
  let from = 0;
  let to = 100;
  const draw = () => {
    const size = to - from;
    for (const shape of all("[data-x]", fall)) {
      shape.setAttribute("x", `${((Number(shape.dataset.x) - from) / size) * 100}%`);
      if (shape.dataset.w) shape.setAttribute("width", `${(Number(shape.dataset.w) / size) * 100}%`);
    }
    one("#reset").hidden = size >= 100;
    const view = one("#window");
    if (view) {
      view.setAttribute("x", `${from}%`);
      view.setAttribute("width", `${size}%`);
      view.setAttribute("visibility", size >= 100 ? "hidden" : "visible");
    }
  };
  const zoom = (left, right) => {
    const [low, high] = [Math.max(0, Math.min(left, right)), Math.min(100, Math.max(left, right))];
    if (high - low < 0.05) return;
    [from, to] = [low, high];
    draw();
    const url = address();
    if (to - from >= 100) ["from", "to"].forEach((name) => url.searchParams.delete(name));
    else [["from", from], ["to", to]].forEach(([name, value]) => url.searchParams.set(name, value.toFixed(3)));
    replace(url);
  };
  const zoomToRow = (row) => {
    const bars = all(".lane rect:not(.gap)", row).map((bar) => [Number(bar.dataset.x), Number(bar.dataset.x) + Number(bar.dataset.w)]);
    if (!bars.length) return;
    const low = Math.min(...bars.map((bar) => bar[0]));
    const high = Math.max(...bars.map((bar) => bar[1]));
    const room = Math.max(0.1, (high - low) * 0.05);
    zoom(low - room, high + room);
  };
  if (fall) {
    const asked_from = Number(address().searchParams.get("from") ?? 0);
    const asked_to = Number(address().searchParams.get("to") ?? 100);
    if (asked_from >= 0 && asked_to <= 100 && asked_to - asked_from >= 0.05 && asked_to - asked_from < 100) {
      [from, to] = [asked_from, asked_to];
      draw();
    }
    one("#reset").addEventListener("click", () => zoom(0, 100));
    let pressed = null;
    const percent = (event, lane) => {
      const box = lane.getBoundingClientRect();
      if (one("#minimap", lane)) return ((event.clientX - box.left) / box.width) * 100;
      return from + ((event.clientX - box.left) / box.width) * (to - from);
    };
    fall.addEventListener("pointerdown", (event) => {
      const lane = event.target.closest(".axis .lane");
      if (lane) pressed = { lane, at: percent(event, lane) };
    });
    addEventListener("pointerup", (event) => {
      if (pressed) zoom(pressed.at, percent(event, pressed.lane));
      pressed = null;
    });
    fall.addEventListener("dblclick", (event) => {
      const row = event.target.closest(".row[role=row]");
      if (row) (to - from < 100 ? zoom(0, 100) : zoomToRow(row));
    });
    fall.addEventListener("wheel", (event) => {
      const lane = event.target.closest(".lane");
      if (!event.ctrlKey || !lane) return;
      event.preventDefault();
      const at = percent(event, lane);
      const by = event.deltaY > 0 ? 1.25 : 0.8;
      zoom(at - (at - from) * by, at + (to - at) * by);
    }, { passive: false });
  }

  // --- search in the page
  const box = one("#search");
  let matches = [];
  let match = -1;
  const find = (text) => {
    all(".match", fall).forEach((row) => row.classList.remove("match"));
    const wanted = text.trim().toLowerCase();
    matches = wanted ? all(".row[role=row]", fall).filter((row) => one(".label", row).textContent.toLowerCase().includes(wanted)) : [];
    matches.forEach((row) => row.classList.add("match"));
    match = -1;
    one("#matches").textContent = wanted ? String(matches.length) : "";
  };
  const show = (by) => {
    if (!matches.length) return;
    match = (match + by + matches.length) % matches.length;
    let parent = matches[match].dataset.parent;
    const seen = new Set();
    while (parent && !seen.has(parent)) {
      seen.add(parent);
      const row = all(".row[role=row]", fall).find((each) => each.dataset.key === parent);
      if (!row) break;
      open(row, true);
      parent = row.dataset.parent;
    }
    focus(matches[match]);
  };
  if (fall && box) {
    box.addEventListener("input", () => find(box.value));
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); show(event.shiftKey ? -1 : 1); }
      if (event.key === "Escape") { box.value = ""; find(""); box.blur(); }
    });
  }

  // --- keys
  const help = one("#help");
  one("#keys")?.addEventListener("click", () => help.showModal());
  const keys = {
    j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
    ArrowRight: () => current && fall && open(current, true), ArrowLeft: () => current && fall && open(current, false),
    Enter: () => current && (current.hasAttribute("data-span") ? details(current) : one("a", current)?.click()),
    "/": () => box?.focus(), n: () => show(1), N: () => show(-1),
    z: () => current && fall && zoomToRow(current), 0: () => fall && zoom(0, 100),
    g: () => one("#gaps")?.click(), c: () => copy(location.href, one("h1")).catch(() => {}),
    "?": () => help.showModal(),
    Escape: () => { const panel = one("#details"); if (panel) panel.hidden = true; },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open || event.target.closest("input, select, textarea")) return;
    if (event.key === "Enter" && event.target.closest("a, button")) return;
    const action = keys[event.key];
    if (action && (fall || one("[data-rows]") || event.key === "?")) { event.preventDefault(); action(); }
  });

  // --- numbers that stay true while the page is open
  const total = one("#total");
  if (total) {
    const refresh = async () => {
      if (document.hidden) return;
      const url = new URL("/api/requirements", location.href);
      for (const name of ["project", "stage", "state", "class", "q", "errors"]) {
        const value = address().searchParams.get(name);
        if (value) url.searchParams.set(name, value);
      }
      url.searchParams.set("limit", "1");
      const answer = await fetch(url).catch(() => null);
      if (answer?.ok) total.textContent = (await answer.json()).total;
    };
    setInterval(refresh, 10000);
  }
})();
