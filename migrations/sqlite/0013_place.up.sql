-- PostgreSQL only: what its planner knows.
SELECT 1;
