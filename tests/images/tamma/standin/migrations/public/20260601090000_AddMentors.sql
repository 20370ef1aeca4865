-- A release of the future.
ALTER TABLE future_sessions ADD COLUMN mentor text;
CREATE TABLE future_mentors (
    name text PRIMARY KEY,
    since date NOT NULL DEFAULT current_date
);
INSERT INTO future_mentors (name) VALUES ('claude');
