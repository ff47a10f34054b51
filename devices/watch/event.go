package watch

import (
	"fmt"
	"strings"

	"dfemu/devices"
)

// Kind is what sort of event it is.
type Kind uint8

// The kinds of events.
const (
	KindRegister Kind = iota
	KindCommand
	KindCompletion
	KindInterrupt
	KindDMA
	KindState
	KindViolation
	KindFault
)

var kindNames = [...]string{"reg", "cmd", "done", "irq", "dma", "state", "strict", "fault"}

// String is the word for the kind in specifications and traces.
func (k Kind) String() string { return kindNames[k] }

// Event is one line of a trace.
type Event struct {
	Time   int64 // the machine's, ns
	Device string
	Kind   Kind
	Place  Place

	Name   string // of the register, command, transfer, or the text of a violation
	Write  bool
	Value  uint64 // of the register
	Size   int    // of the access, bytes
	Fields []devices.FieldValue

	Queue, Tag  int
	NSID        uint32
	LBA, Blocks uint64
	Addr, Bytes uint64
	Status      string
	StatusCode  uint32
	Vector      int
	Level       bool
	Clause      string
	Late        bool // of a violation: the processor has gone on from Place
}

// describe fills in a register access.
func (e *Event) describe(x *devices.RegisterAccess) {
	e.Write, e.Value, e.Size = x.Write, x.Value, x.Size
	if x.Bank == nil {
		e.Name = fmt.Sprintf("+%#x", x.Off)
		return
	}
	r, base, ok := x.Bank.Find(x.Off)
	if !ok {
		e.Name = fmt.Sprintf("%s+%#x", x.Bank.Name, x.Off)
		return
	}
	e.Name = r.String()
	if x.Off != base {
		e.Name += fmt.Sprintf("+%d", x.Off-base)
	}
	if x.Err != nil {
		e.Status = x.Err.Error()
	}
	shift := 8 * (x.Off - base)
	for _, f := range r.Fields {
		if uint64(f.Lo) < shift || uint64(f.Hi) >= shift+uint64(8*x.Size) {
			continue
		}
		v := x.Value >> (uint64(f.Lo) - shift) & (1<<(f.Hi-f.Lo+1) - 1)
		if v != 0 {
			e.Fields = append(e.Fields, devices.FieldValue{Name: f.Name, Value: v})
		}
	}
}

// command fills in a command.
func (e *Event) command(c *devices.Command) {
	e.Name, e.Write, e.Queue, e.Tag, e.NSID = c.Name, c.Write, c.Queue, c.Tag, c.NSID
	e.LBA, e.Blocks, e.Bytes, e.Value = c.LBA, c.Blocks, c.Bytes, uint64(c.Opcode)
	if c.Fields != nil && e.Kind == KindCommand {
		e.Fields = c.Fields()
	}
}

// Text is the event as a line for people.
func (e *Event) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%12.6f %-10s %-6s ", float64(e.Time)/1e9, e.Device, e.Kind)
	switch e.Kind {
	case KindRegister:
		op := "R"
		if e.Write {
			op = "W"
		}
		fmt.Fprintf(&b, "%s%d %s = %#x", op, 8*e.Size, e.Name, e.Value)
	case KindCommand, KindCompletion, KindFault:
		fmt.Fprintf(&b, "q%d tag %d %s", e.Queue, e.Tag, e.Name)
		if e.NSID != 0 {
			fmt.Fprintf(&b, " ns %d", e.NSID)
		}
		if e.Blocks != 0 {
			fmt.Fprintf(&b, " lba %d+%d", e.LBA, e.Blocks)
		} else if e.Bytes != 0 {
			fmt.Fprintf(&b, " %d bytes", e.Bytes)
		}
	case KindInterrupt:
		if e.Vector < 0 {
			fmt.Fprintf(&b, "INTx %s", map[bool]string{true: "raised", false: "lowered"}[e.Level])
		} else {
			fmt.Fprintf(&b, "MSI %d", e.Vector)
		}
	case KindDMA:
		op := "from"
		if e.Write {
			op = "to"
		}
		fmt.Fprintf(&b, "%s: %d bytes %s %#x", e.Name, e.Bytes, op, e.Addr)
	case KindViolation:
		fmt.Fprintf(&b, "%s [%s]", e.Name, e.Clause)
	default:
		b.WriteString(e.Name)
	}
	if len(e.Fields) > 0 {
		b.WriteString(" {")
		for i, f := range e.Fields {
			if i > 0 {
				b.WriteByte(' ')
			}
			if f.Value == 1 {
				b.WriteString(f.Name)
			} else {
				fmt.Fprintf(&b, "%s=%#x", f.Name, f.Value)
			}
		}
		b.WriteByte('}')
	}
	if e.Status != "" {
		fmt.Fprintf(&b, " -> %s", e.Status)
		if e.Kind == KindCompletion {
			fmt.Fprintf(&b, " (%#x)", e.StatusCode)
		}
	}
	if e.Place.CPU >= 0 {
		fmt.Fprintf(&b, "  cpu%d %#x", e.Place.CPU, e.Place.RIP)
		if e.Place.Symbol != "" {
			fmt.Fprintf(&b, " %s", e.Place.Symbol)
		}
	}
	return b.String()
}
