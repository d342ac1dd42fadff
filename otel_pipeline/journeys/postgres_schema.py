"""The tables of the journey store in a database that speaks PostgreSQL's protocol.

Plain SQL without extensions and sequences, so that databases spread over several machines take it: rows are found by
ids that senders or hashes make, which spread by themselves. `journey_meta` has the one row that writers wait for.
"""

__all__ = ["MIGRATIONS"]

MIGRATIONS = (
    (
        """
        CREATE TABLE journey_trace (
            trace_id uuid PRIMARY KEY,
            start_ns bigint NOT NULL,
            end_ns bigint NOT NULL,
            spans bigint NOT NULL DEFAULT 0,
            bytes bigint NOT NULL DEFAULT 0,
            name text NOT NULL DEFAULT '',
            service text NOT NULL DEFAULT '',
            errors bigint NOT NULL DEFAULT 0,
            unmade bigint,
            runs bytea)
        """,
        "CREATE INDEX journey_trace_start ON journey_trace (start_ns)",
        "CREATE INDEX journey_trace_end ON journey_trace (end_ns)",
        "CREATE INDEX journey_trace_unmade ON journey_trace (unmade) WHERE unmade IS NOT NULL",
        """
        CREATE TABLE journey_chunk (
            trace_id uuid NOT NULL, digest bigint NOT NULL, blob bytea NOT NULL, PRIMARY KEY (trace_id, digest))
        """,
        """
        CREATE TABLE journey_key (
            id uuid PRIMARY KEY,
            kind text COLLATE "C" NOT NULL,
            scope text COLLATE "C" NOT NULL,
            value text COLLATE "C" NOT NULL)
        """,
        "CREATE INDEX journey_key_value ON journey_key (kind, value)",
        """
        CREATE TABLE journey_edge (
            cause uuid NOT NULL,
            product uuid NOT NULL,
            first_ns bigint NOT NULL,
            last_ns bigint NOT NULL,
            items bigint NOT NULL,
            trace_id uuid,
            PRIMARY KEY (cause, product))
        """,
        "CREATE INDEX journey_edge_product ON journey_edge (product)",
        """
        CREATE TABLE journey_sighting (
            key_id uuid NOT NULL,
            trace_id uuid NOT NULL,
            first_ns bigint NOT NULL,
            last_ns bigint NOT NULL,
            items bigint NOT NULL,
            PRIMARY KEY (key_id, trace_id))
        """,
        "CREATE INDEX journey_sighting_trace ON journey_sighting (trace_id)",
        "CREATE TABLE journey_link (trace_id uuid NOT NULL, target uuid NOT NULL, PRIMARY KEY (trace_id, target))",
        "CREATE INDEX journey_link_target ON journey_link (target)",
        """
        CREATE TABLE journey_operation (
            trace_id uuid NOT NULL, service text NOT NULL, name text NOT NULL, PRIMARY KEY (trace_id, service, name))
        """,
        "CREATE TABLE journey_change (seq bigint PRIMARY KEY, trace_id uuid, key_id uuid)",
        """
        CREATE TABLE journey_summary (
            project text COLLATE "C" NOT NULL,
            id text COLLATE "C" NOT NULL,
            class text NOT NULL,
            state text NOT NULL,
            stage text NOT NULL,
            is_open int NOT NULL,
            start_ns bigint NOT NULL,
            end_ns bigint NOT NULL,
            lead_ns bigint NOT NULL,
            active_ns bigint NOT NULL,
            cost_usd double precision NOT NULL,
            tokens bigint NOT NULL,
            errors bigint NOT NULL,
            reruns bigint NOT NULL,
            due_ns bigint NOT NULL,
            search text NOT NULL,
            body text NOT NULL,
            PRIMARY KEY (project, id))
        """,
        "CREATE INDEX journey_summary_due ON journey_summary (due_ns)",
    ),
)
"""The statements of each version; `journey_meta` says how many versions were applied."""
