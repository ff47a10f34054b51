package watch

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"dfemu/devices"
)

// Format is how a trace is written.
type Format uint8

// The formats.
const (
	Text     Format = iota // lines for people
	JSON                   // an object a line
	Perfetto               // the Chrome trace event format, which ui.perfetto.dev and chrome://tracing show
)

// ParseFormat returns the format of a name.
func ParseFormat(s string) (Format, error) {
	switch s {
	case "", "text":
		return Text, nil
	case "json":
		return JSON, nil
	case "perfetto", "chrome":
		return Perfetto, nil
	}
	return 0, fmt.Errorf("trace format %q: must be text, json or perfetto", s)
}

// Trace writes events. Its methods may be called from any goroutine.
type Trace struct {
	rules  []traceRule
	format Format

	mu     sync.Mutex
	w      *bufio.Writer
	err    error
	tracks tracks
}

// traceRule selects events: those of devices and kinds with names that match.
type traceRule struct {
	device, name string
	kinds        uint16
}

// kindWords are the words for kinds in a specification.
var kindWords = map[string]uint16{
	"all": 1<<len(kindNames) - 1,
	"reg": 1 << KindRegister, "cmd": 1<<KindCommand | 1<<KindCompletion | 1<<KindFault, "irq": 1 << KindInterrupt,
	"dma": 1 << KindDMA, "state": 1 << KindState, "strict": 1 << KindViolation, "fault": 1 << KindFault,
}

// NewTrace returns a trace of what spec selects, to w. spec is a list, separated by commas, of
// DEVICE[:KIND[:NAME]]: DEVICE and NAME are patterns with * and ?, KIND is all, reg, cmd, irq, dma,
// state, strict or fault; several are joined by +. A kind alone stands for that of all devices. An example:
// "nvme0:cmd+irq,ahci*:reg:PxCI*".
func NewTrace(spec string, f Format, w io.Writer) (*Trace, error) {
	t := &Trace{format: f, w: bufio.NewWriterSize(w, 64<<10)}
	for part := range strings.SplitSeq(spec, ",") {
		r, err := parseTraceRule(part)
		if err != nil {
			return nil, fmt.Errorf("--trace %s: %w", spec, err)
		}
		t.rules = append(t.rules, r)
	}
	if f == Perfetto {
		t.tracks.begin(t.w)
	}
	return t, nil
}

func parseTraceRule(s string) (traceRule, error) {
	r := traceRule{device: "*", name: "*", kinds: kindWords["all"]}
	p := strings.SplitN(s, ":", 3)
	if p[0] == "" {
		return r, fmt.Errorf("%q: a device, a pattern or a kind of event is missing", s)
	}
	if k := kindWords[p[0]]; k != 0 && len(p) == 1 {
		r.kinds = k
		return r, nil
	}
	r.device = p[0]
	if len(p) > 1 {
		r.kinds = 0
		for k := range strings.SplitSeq(p[1], "+") {
			if kindWords[k] == 0 {
				return r, fmt.Errorf("%q: no kind of event: must be all, reg, cmd, irq, dma, state, strict or fault", k)
			}
			r.kinds |= kindWords[k]
		}
	}
	if len(p) > 2 {
		r.name = p[2]
	}
	for _, g := range []string{r.device, r.name} {
		if _, err := path.Match(g, ""); err != nil {
			return r, fmt.Errorf("%q: not a pattern", g)
		}
	}
	return r, nil
}

func matches(pattern, s string) bool {
	ok, _ := path.Match(pattern, s)
	return ok || pattern == "*"
}

// classes are the events that a device must report.
func (t *Trace) classes(device string) (c devices.Class) {
	for _, r := range t.rules {
		if !matches(r.device, device) {
			continue
		}
		for k, class := range [...]devices.Class{
			KindRegister: devices.ClassRegister, KindCommand: devices.ClassCommand, KindCompletion: devices.ClassCommand,
			KindInterrupt: devices.ClassInterrupt, KindDMA: devices.ClassDMA, KindState: devices.ClassState,
			KindViolation: devices.ClassStrict, KindFault: 0,
		} {
			if r.kinds>>k&1 != 0 {
				c |= class
			}
		}
	}
	return c
}

// wants reports whether some rule selects e.
func (t *Trace) wants(e *Event) bool {
	for _, r := range t.rules {
		if r.kinds>>e.Kind&1 != 0 && matches(r.device, e.Device) && matches(r.name, e.Name) {
			return true
		}
	}
	return false
}

// emit writes an event if it is selected.
func (t *Trace) emit(e *Event) {
	if !t.wants(e) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return
	}
	switch t.format {
	case Text:
		_, t.err = fmt.Fprintln(t.w, e.Text())
	case JSON:
		t.err = writeJSON(t.w, e)
	case Perfetto:
		t.err = t.tracks.write(t.w, e)
	}
}

// Flush writes what is buffered.
func (t *Trace) Flush() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = t.w.Flush()
	}
	return t.err
}

// Close ends the trace. The writer stays open.
func (t *Trace) Close() error {
	t.mu.Lock()
	if t.format == Perfetto && t.err == nil {
		if t.err = t.tracks.close(t.w); t.err == nil {
			_, t.err = t.w.WriteString("\n]}\n")
		}
	}
	t.mu.Unlock()
	return t.Flush()
}
