package aml

import "strings"

const (
	dualNamePrefix  = 0x2e
	multiNamePrefix = 0x2f
)

// appendPath appends the NameString for an ASL path such as `\_SB.PCI0`,
// `^FOO` or `BAR` (section 20.2.2). Segments shorter than four characters are
// padded with underscores.
func appendPath(e *Encoder, buf []byte, path string) []byte {
	rest := path
	switch {
	case strings.HasPrefix(rest, `\`):
		buf = append(buf, '\\')
		rest = rest[1:]
	default:
		for strings.HasPrefix(rest, "^") {
			buf = append(buf, '^')
			rest = rest[1:]
		}
	}
	if rest == "" {
		if path == "" {
			e.fail("empty name")
		}
		return append(buf, 0)
	}
	segs := strings.Split(rest, ".")
	switch n := len(segs); {
	case n == 2:
		buf = append(buf, dualNamePrefix)
	case n > 255:
		e.fail("name of %d segments: at most 255", n)
		return buf
	case n > 2:
		buf = append(buf, multiNamePrefix, byte(n))
	}
	for _, s := range segs {
		buf = appendSeg(e, buf, s, path)
	}
	return buf
}

func appendSeg(e *Encoder, buf []byte, s, path string) []byte {
	if len(s) < 1 || len(s) > 4 {
		e.fail("name %q: segment %q is not 1 to 4 characters", path, s)
		return buf
	}
	for i := 0; i < 4; i++ {
		c := byte('_')
		if i < len(s) {
			c = s[i]
		}
		lead := c == '_' || c >= 'A' && c <= 'Z'
		if !lead && (i == 0 || c < '0' || c > '9') {
			e.fail("name %q: character %q may not stand at position %d of a segment", path, c, i)
			return buf
		}
		buf = append(buf, c)
	}
	return buf
}

// Ref refers to a named object by its path.
func Ref(path string) Term { return func(e *Encoder) { e.name(path) } }

// Call invokes the control method at path. The method must take exactly
// len(args) arguments: AML does not say how many follow.
func Call(path string, args ...Term) Term {
	return func(e *Encoder) {
		e.name(path)
		e.terms(args)
	}
}

// Local refers to method local n, 0 to 7.
func Local(n int) Term {
	return func(e *Encoder) {
		if n < 0 || n > 7 {
			e.fail("Local%d: locals are 0 to 7", n)
			return
		}
		e.u8(0x60 + byte(n))
	}
}

// Arg refers to method argument n, 0 to 6.
func Arg(n int) Term {
	return func(e *Encoder) {
		if n < 0 || n > 6 {
			e.fail("Arg%d: arguments are 0 to 6", n)
			return
		}
		e.u8(0x68 + byte(n))
	}
}

// Debug is the debug object: what is stored to it appears in the interpreter's
// log.
func Debug() Term { return func(e *Encoder) { e.u8(0x5b, 0x31) } }

// Nothing is the null target: a result that is not stored.
func Nothing() Term { return func(e *Encoder) { e.u8(0) } }
