-- PostgreSQL only: how long texts are compressed.
SELECT 1;
