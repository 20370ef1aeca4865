ALTER TABLE tamma.mentorship_sessions ADD COLUMN mentor text;
CREATE TABLE tamma.mentors (
    name text PRIMARY KEY,
    since date NOT NULL DEFAULT current_date
);
INSERT INTO tamma.mentors (name) VALUES ('claude');
