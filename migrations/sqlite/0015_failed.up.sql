-- How many deliveries have failed, without a look at all that did not.
CREATE INDEX delivery_failed ON delivery (updated) WHERE state = 5;
