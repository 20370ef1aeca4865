DROP TABLE tamma.mentorship_reviews;
DELETE FROM tamma.mentorship_sessions WHERE id % 2 = 0;
ALTER TABLE tamma.mentorship_sessions DROP COLUMN notes;
