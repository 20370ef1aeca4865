-- A release of the future.
DROP TABLE future_reviews;
DELETE FROM future_sessions WHERE id % 2 = 0;
ALTER TABLE future_sessions DROP COLUMN notes;
