ALTER TABLE tamma.mentorship_sessions ADD COLUMN notes text;
CREATE TABLE tamma.mentorship_reviews (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id bigint NOT NULL REFERENCES tamma.mentorship_sessions,
    verdict text NOT NULL
);
