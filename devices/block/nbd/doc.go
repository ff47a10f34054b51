// Package nbd is a disk behind a network block device server (doc/proto.md of
// the NBD project; names here are those of that text): fixed newstyle
// negotiation, simple and structured replies, over TCP and Unix sockets,
// without TLS.
//
// Any number of requests are in flight at once. When a connection is lost, it
// is made again, and the requests in flight are repeated: they are all such
// that doing them twice is the same as once. What the server had acknowledged
// and not flushed may be lost with it, so the first Flush after that fails.
// What the protocol cannot rule out is a server that does a request of the lost
// connection after newer ones of the next: only the server can see to that.
//
// Nothing a server sends is trusted: sizes and offsets are checked, and a
// server that breaks the protocol loses the connection.
package nbd
