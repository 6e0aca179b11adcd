package demo

// Generate is generate, for the tests.
var Generate = generate
