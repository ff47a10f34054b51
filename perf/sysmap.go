package perf

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parseSystemMap reads the lines of System.map and /proc/kallsyms: an address in
// hexadecimal, a letter for the type, a name, and for modules their name in
// brackets, which becomes a part of the symbol's name.
func parseSystemMap(text []byte) ([]Symbol, error) {
	var syms []Symbol
	seen := uint64(0)
	for n := 1; len(text) > 0; n++ {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		f := strings.Fields(string(line))
		if len(f) == 0 {
			continue
		}
		if len(f) < 3 || len(f) > 4 || len(f[1]) != 1 {
			return nil, fmt.Errorf("line %d: %.60q: must be an address, a type and a name", n, line)
		}
		addr, err := strconv.ParseUint(f[0], 16, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: address %.20q: %w", n, f[0], errors.Unwrap(err))
		}
		seen |= addr
		name := f[2]
		if len(f) == 4 {
			name += " " + f[3]
		}
		if len(name) > maxSymbolName {
			return nil, fmt.Errorf("line %d: the name is longer than %d bytes", n, maxSymbolName)
		}
		syms = append(syms, Symbol{Addr: addr, Type: f[1][0], Name: name})
	}
	switch {
	case len(syms) == 0:
		return nil, errors.New("no symbols")
	case seen == 0:
		return nil, errors.New("all addresses are 0: read /proc/kallsyms as root, with kernel.kptr_restrict at 0 or 1")
	}
	return syms, nil
}
