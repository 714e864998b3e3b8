// Package mail writes the mails about invoices and notices, and hands them to the
// operator's mail server by SMTP (RFC 5321). It fills [tollgate/server/billing.Mailer].
//
// # Types
//
// [Sender] is all there is, made by [New] from [Options]. It keeps no connection
// and no queue: each mail is one conversation with the server, bounded by the
// context and by Options.Timeout. Inside, a letter is what a mail says; one
// layout for text and one for HTML show the same letter, so that the two parts
// cannot say different things. An envelope is what the server is told of it.
//
// # Connection
//
// smtps:// is TLS from the first byte. smtp:// is STARTTLS, and without it no
// mail is sent, save to a server on this machine: there TLS is used where it is
// offered, and its certificate need not be known, because no TLS at all would do
// as well. The server is told a password only when the URL has a user.
//
// # Errors
//
// An error wraps billing.ErrRefused when this mail will never be taken: the
// address is none, or the server answered 5xx to the recipient or the content.
// What the operator can put right is never final, because every customer's mail
// would be given up for it: a refused connection, sign-in or sender, and a
// recipient refused by policy (5.7.x of RFC 3463, such as a relay that is denied
// to whoever has not signed in). All else, 4xx and broken connections, may or may
// not have been sent. Errors have no address in them: they are kept in the
// ledger, which cannot forget.
//
// # Invariants
//
//   - A mail is the same bytes each time but for its date, and has the same
//     Message-ID, so that one that came twice is told.
//   - A mail that the server has answered for is sent, whatever breaks after.
//   - Nothing from outside begins a header or a line of its own in the text, and
//     nothing is markup in the HTML.
//
// # Crashes
//
// Nothing is kept here. A crash, or a connection that breaks, between the last
// byte of a mail and the server's answer leaves open whether it was sent; sent
// again, it has the same Message-ID.
package mail
