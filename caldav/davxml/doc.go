// Package davxml owns the XML of WebDAV and CalDAV: the names, the decoding of
// request bodies into plain structs, and the writing of answers.
//
// Bodies are read by Parse under limits (size, depth, number of elements,
// attributes and namespace declarations); a document type declaration is always
// refused. The Parse* functions turn the tree into one struct per method or
// report. Answers are written by Builder, Multistatus and the functions beside
// them; they append to one buffer, keep the document balanced by construction and
// send it out in pieces.
//
// The package is pure. It never opens a connection, reads a clock, looks at a
// calendar object, decides about access, or knows paths: an href is text here.
//
// Foreign input fails with an *Error, whose Kind is one of ErrMalformed,
// ErrDoctype, ErrTooLarge, ErrRequest, ErrPrecondition; where an RFC names a
// precondition for the case, Error.Cond holds it. Writers keep their first error
// and report it at the end (Builder.Err, Multistatus.Close).
package davxml
