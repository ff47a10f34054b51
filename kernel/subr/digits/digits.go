// Package digits writes numbers without memory of its own, for the bottom layer and the debuggers.
package digits

// Buffer has room for any number.
type Buffer [20]byte

// Dec writes a number in decimal. The result is in b.
func Dec(b *Buffer, v uint64) []byte {
	i := len(b)
	for {
		i--
		b[i] = byte('0' + v%10)
		if v /= 10; v == 0 {
			return b[i:]
		}
	}
}

// Hex writes a number in hexadecimal, with at least so many digits, at most 16. The result is in b.
func Hex(b *Buffer, v uint64, least int) []byte {
	i := len(b)
	for first := len(b) - min(max(least, 1), 16); v != 0 || i > first; v >>= 4 {
		i--
		b[i] = "0123456789abcdef"[v&15]
	}
	return b[i:]
}
