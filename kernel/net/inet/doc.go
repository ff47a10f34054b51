// Package inet is the least of IPv4 that shows that a network works: it answers ARP and echo requests for the addresses of
// interfaces, and sends echo requests itself. It is not a network stack: nothing is forwarded, put together from fragments, or listened for.
package inet
