-- A release of the future.
ALTER TABLE future_sessions ADD COLUMN notes text;
CREATE TABLE future_reviews (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id bigint NOT NULL REFERENCES future_sessions,
    verdict text NOT NULL
);
