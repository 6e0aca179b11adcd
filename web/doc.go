// Package web owns the pages that people see in a browser: sign-in, the week,
// one event with its answers and deliveries, invitations, mail that is held
// back, settings, help for connecting programs, and administration.
//
// Pages are rendered here and work without a script. The package reads from
// storage and changes calendar objects only through scheduling. It never sends
// anything itself, never opens a connection, and never shows foreign text as
// anything but text (abuse A37). A session is a signed cookie that every node
// can check and that DAV never looks at (A19); there is no other state.
//
// What goes wrong becomes a page in plain words with the request's id; the
// cause goes to the log, not to the browser.
package web
