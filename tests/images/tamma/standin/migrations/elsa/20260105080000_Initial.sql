CREATE TABLE elsa.workflow_definitions (
    id text PRIMARY KEY,
    name text NOT NULL,
    version integer NOT NULL DEFAULT 1
);
CREATE TABLE elsa.workflow_instances (
    id uuid PRIMARY KEY,
    definition_id text NOT NULL REFERENCES elsa.workflow_definitions,
    finished_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO elsa.workflow_definitions (id, name) VALUES
    ('issue-triage', 'Issue triage'),
    ('mentorship-session', 'Mentorship session'),
    ('pull-request-review', 'Pull request review');
