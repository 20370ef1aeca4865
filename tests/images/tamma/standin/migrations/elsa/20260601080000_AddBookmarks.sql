ALTER TABLE elsa.workflow_instances ADD COLUMN correlation_id text;
CREATE TABLE elsa.workflow_bookmarks (
    id uuid PRIMARY KEY,
    instance_id uuid NOT NULL REFERENCES elsa.workflow_instances,
    created_at timestamptz NOT NULL DEFAULT now()
);
