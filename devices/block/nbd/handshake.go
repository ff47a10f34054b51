package nbd

import (
	"fmt"
	"io"
	"strings"
)

// export is what a server says about an export.
type export struct {
	size       uint64
	flags      uint16
	min, max   uint32 // block sizes; 0 if the server did not say
	structured bool
	status     bool   // the context base:allocation was chosen
	context    uint32 // its number
}

// handshake negotiates with a server for an export.
func handshake(c io.ReadWriter, name string) (*export, error) {
	var p [18]byte
	if _, err := io.ReadFull(c, p[:]); err != nil {
		return nil, err
	}
	switch {
	case be.Uint64(p[:]) != magicInit:
		return nil, protocol("it does not greet: %q", p[:8])
	case be.Uint64(p[8:]) == magicOldstyle:
		return nil, protocol("it speaks only the old style of negotiation")
	case be.Uint64(p[8:]) != magicOption:
		return nil, protocol("it does not ask for options")
	}
	flags := be.Uint16(p[16:])
	if flags&flagFixedNewstyle == 0 {
		return nil, protocol("it does not know the fixed new style of negotiation")
	}
	answer := uint32(flags & (flagFixedNewstyle | flagNoZeroes))
	if _, err := c.Write(be.AppendUint32(nil, answer)); err != nil {
		return nil, err
	}
	e := &export{}
	if err := e.negotiate(c, name); err != nil {
		return nil, err
	}
	ok, err := e.choose(c, name)
	if err == nil && !ok {
		// A server that knows only the oldest option answers without a type.
		e.structured = false
		err = e.exportName(c, name, flags&flagNoZeroes != 0)
	}
	if err != nil {
		return nil, err
	}
	return e, e.check()
}

// check looks at whether the numbers make sense.
func (e *export) check() error {
	switch {
	case e.size > 1<<63-1:
		return protocol("a disk of %d bytes", e.size)
	case e.size < 512:
		return fmt.Errorf("NBD export: its %d bytes are less than one sector of 512", e.size)
	case e.flags&flagHasFlags == 0:
		return protocol("transmission flags %#x", e.flags)
	case e.min&(e.min-1) != 0 || e.min > 4096:
		return fmt.Errorf("NBD export: blocks of %d bytes are not supported, only powers of two up to 4096", e.min)
	case e.max != 0 && (e.max < max(e.min, 512) || e.min != 0 && e.max%e.min != 0):
		return protocol("blocks of %d to %d bytes", e.min, e.max)
	}
	return nil
}

// option sends an option and calls reply for each answer of the given type,
// until the server says that this was all. It returns the type of the error
// that the server has answered with, or 0.
func option(c io.ReadWriter, opt uint32, data []byte, typ uint32, reply func(p []byte) error) (refused uint32, message string, err error) {
	p := be.AppendUint64(nil, magicOption)
	p = be.AppendUint32(p, opt)
	p = be.AppendUint32(p, uint32(len(data)))
	if _, err := c.Write(append(p, data...)); err != nil {
		return 0, "", err
	}
	for range maxInfoReplies {
		var h [20]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return 0, "", err
		}
		got, n := be.Uint32(h[12:]), be.Uint32(h[16:])
		switch {
		case be.Uint64(h[:]) != magicOptionReply || be.Uint32(h[8:]) != opt:
			return 0, "", protocol("it answers option %d with %x", opt, h[:12])
		case n > maxOptionReply:
			return 0, "", protocol("it answers option %d with %d bytes", opt, n)
		}
		q := make([]byte, n)
		if _, err := io.ReadFull(c, q); err != nil {
			return 0, "", err
		}
		switch {
		case got&repError != 0:
			return got, string(q), nil
		case got == repAck:
			return 0, "", nil
		case reply != nil && got == typ:
			if err := reply(q); err != nil {
				return 0, "", err
			}
		}
	}
	return 0, "", protocol("it answers option %d without end", opt)
}

// negotiate asks for structured replies and block status.
func (e *export) negotiate(c io.ReadWriter, name string) error {
	refused, _, err := option(c, optStructuredReply, nil, 0, nil)
	if err != nil || refused != 0 {
		return err
	}
	e.structured = true
	const context = "base:allocation"
	p := be.AppendUint32(nil, uint32(len(name)))
	p = append(p, name...)
	p = be.AppendUint32(p, 1)
	p = be.AppendUint32(p, uint32(len(context)))
	p = append(p, context...)
	_, _, err = option(c, optSetMetaContext, p, repMetaContext, func(q []byte) error {
		if len(q) == 4+len(context) && string(q[4:]) == context {
			e.status, e.context = true, be.Uint32(q)
		}
		return nil
	})
	return err
}

// choose asks for the export. It returns false if the server does not know the
// option.
func (e *export) choose(c io.ReadWriter, name string) (bool, error) {
	p := be.AppendUint32(nil, uint32(len(name)))
	p = append(p, name...)
	p = be.AppendUint16(p, 1)
	p = be.AppendUint16(p, infoBlockSize)
	seen := false
	refused, message, err := option(c, optGo, p, repInfo, func(q []byte) error {
		if len(q) < 2 {
			return protocol("an information of %d bytes", len(q))
		}
		switch typ := be.Uint16(q); {
		case typ == infoExport && len(q) == 12:
			e.size, e.flags, seen = be.Uint64(q[2:]), be.Uint16(q[10:]), true
		case typ == infoBlockSize && len(q) == 14:
			e.min, e.max = be.Uint32(q[2:]), be.Uint32(q[10:])
		case typ == infoExport || typ == infoBlockSize:
			return protocol("an information of type %d with %d bytes", typ, len(q))
		}
		return nil
	})
	switch {
	case err != nil:
		return false, err
	case refused == repErrUnsup:
		return false, nil
	case refused != 0:
		return false, refusal(refused, name, message)
	case !seen:
		return false, protocol("it does not tell the size of the export")
	}
	return true, nil
}

// exportName asks for the export in the oldest way.
func (e *export) exportName(c io.ReadWriter, name string, noZeroes bool) error {
	p := be.AppendUint64(nil, magicOption)
	p = be.AppendUint32(p, optExportName)
	p = be.AppendUint32(p, uint32(len(name)))
	if _, err := c.Write(append(p, name...)); err != nil {
		return err
	}
	q := make([]byte, 10+124)
	if noZeroes {
		q = q[:10]
	}
	if _, err := io.ReadFull(c, q); err != nil {
		return fmt.Errorf("NBD server has no export %q, or does not say: %w", name, err)
	}
	e.size, e.flags = be.Uint64(q), be.Uint16(q[8:])
	return nil
}

// refusal explains why a server does not give an export.
func refusal(code uint32, name, message string) error {
	why, ok := map[uint32]string{
		repErrPolicy: "its policy forbids it", repErrInvalid: "it says that the request is invalid",
		repErrPlatform: "its platform cannot do it", repErrTLS: "it requires TLS, which is not supported",
		repErrUnknown: "it has no export of this name", repErrShutdown: "it is shutting down",
		repErrSize: "it requires block sizes to be respected", repErrTooBig: "it says that the request is too large",
	}[code]
	if !ok {
		why = fmt.Sprintf("error %#x", code)
	}
	if m := strings.TrimSpace(message); m != "" {
		why += fmt.Sprintf(" (%q)", m)
	}
	return fmt.Errorf("NBD server refuses export %q: %s", name, why)
}
