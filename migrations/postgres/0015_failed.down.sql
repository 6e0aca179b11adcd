DROP INDEX delivery_failed;
