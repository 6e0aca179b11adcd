DROP INDEX delivery_account;
DROP TABLE alarm;
