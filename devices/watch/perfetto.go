package watch

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
)

// tracks writes the Chrome trace event format: a process for each device and in it a track (a thread, in the
// format's words) for each queue, for each interrupt line, for its registers, its transfers. Commands are slices
// from when they were taken to their completion. Slices of one track must not overlap, so that commands which are under way at
// the same time get lanes: further tracks of the queue.
type tracks struct {
	started bool
	last    float64 // time of the latest event
	pids    map[string]int
	tids    map[string]int
	open    map[commandKey]*slice
	lanes   map[laneKey]bool // in use
}

// commandKey tells commands under way apart.
type commandKey struct {
	device     string
	queue, tag int
}

type laneKey struct {
	device      string
	queue, lane int
}

// slice is a command under way.
type slice struct {
	event chromeEvent
	lane  laneKey
}

// chromeEvent is one event of the format. Times are in µs.
type chromeEvent struct {
	Name string         `json:"name"`
	Ph   string         `json:"ph"`
	TS   float64        `json:"ts"`
	Dur  *float64       `json:"dur,omitempty"`
	PID  int            `json:"pid"`
	TID  int            `json:"tid"`
	Cat  string         `json:"cat,omitempty"`
	S    string         `json:"s,omitempty"`
	Args map[string]any `json:"args,omitempty"`
}

func (t *tracks) begin(w io.Writer) {
	t.pids, t.tids = map[string]int{}, map[string]int{}
	t.open, t.lanes = map[commandKey]*slice{}, map[laneKey]bool{}
	_, _ = io.WriteString(w, `{"displayTimeUnit":"ns","traceEvents":[`+"\n")
}

func (t *tracks) put(w io.Writer, e *chromeEvent) error {
	p, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if t.started {
		if _, err := io.WriteString(w, ",\n"); err != nil {
			return err
		}
	}
	t.started = true
	_, err = w.Write(p)
	return err
}

// track returns the process and thread of a device's track, naming them the first time.
func (t *tracks) track(w io.Writer, device, track string) (pid, tid int, err error) {
	pid = t.pids[device]
	if pid == 0 {
		pid = len(t.pids) + 1
		t.pids[device] = pid
		err = t.put(w, &chromeEvent{Name: "process_name", Ph: "M", PID: pid, Args: map[string]any{"name": device}})
	}
	k := device + "\x00" + track
	tid = t.tids[k]
	if tid == 0 && err == nil {
		tid = len(t.tids) + 1
		t.tids[k] = tid
		err = t.put(w, &chromeEvent{Name: "thread_name", Ph: "M", PID: pid, TID: tid, Args: map[string]any{"name": track}})
	}
	return pid, tid, err
}

// queueTrack is the name of a lane of a queue.
func queueTrack(queue, lane int) string {
	if lane == 0 {
		return fmt.Sprintf("queue %d", queue)
	}
	return fmt.Sprintf("queue %d (%d)", queue, lane+1)
}

func (t *tracks) write(w io.Writer, e *Event) error {
	track := ""
	c := chromeEvent{Name: e.Name, Ph: "i", S: "t", Cat: e.Kind.String(), TS: float64(e.Time) / 1e3, Args: map[string]any{"text": e.Text()}}
	t.last = max(t.last, c.TS)
	switch e.Kind {
	case KindRegister:
		track = "registers"
	case KindCommand:
		return t.take(w, e, c)
	case KindCompletion:
		if s := t.open[commandKey{e.Device, e.Queue, e.Tag}]; s != nil {
			s.event.Args["completion"] = e.Text()
			return t.end(w, commandKey{e.Device, e.Queue, e.Tag}, c.TS)
		}
		track = queueTrack(e.Queue, 0) // of a command that was taken before the trace began
	case KindFault:
		track = queueTrack(e.Queue, 0)
	case KindInterrupt:
		track, c.Name = "INTx", "INTx"
		switch {
		case e.Vector >= 0:
			track = fmt.Sprintf("MSI %d", e.Vector)
			c.Name = track
		case e.Level:
			c.Ph, c.S = "B", ""
		default:
			c.Ph, c.S = "E", ""
		}
	case KindDMA:
		track = "DMA"
	case KindState:
		track = "state"
	case KindViolation:
		track = "strict"
	}
	var err error
	if c.PID, c.TID, err = t.track(w, e.Device, track); err != nil {
		return err
	}
	return t.put(w, &c)
}

// take begins a command's slice, in the first lane that is free.
func (t *tracks) take(w io.Writer, e *Event, c chromeEvent) error {
	key := commandKey{e.Device, e.Queue, e.Tag}
	if t.open[key] != nil {
		// The tag is used again: a reset has ended the command before.
		if err := t.end(w, key, c.TS); err != nil {
			return err
		}
	}
	s := &slice{lane: laneKey{e.Device, e.Queue, 0}}
	for t.lanes[s.lane] {
		s.lane.lane++
	}
	t.lanes[s.lane] = true
	t.open[key] = s
	c.Ph, c.S = "X", ""
	var err error
	c.PID, c.TID, err = t.track(w, e.Device, queueTrack(e.Queue, s.lane.lane))
	s.event = c
	return err
}

// end writes a command's slice, which lasts until a time in µs.
func (t *tracks) end(w io.Writer, key commandKey, until float64) error {
	s := t.open[key]
	delete(t.open, key)
	delete(t.lanes, s.lane)
	dur := max(until-s.event.TS, 0)
	s.event.Dur = &dur
	return t.put(w, &s.event)
}

// close writes the slices of commands that have not ended.
func (t *tracks) close(w io.Writer) error {
	keys := slices.SortedFunc(maps.Keys(t.open), func(a, b commandKey) int {
		return cmp.Or(cmp.Compare(a.device, b.device), cmp.Compare(a.queue, b.queue), cmp.Compare(a.tag, b.tag))
	})
	for _, k := range keys {
		t.open[k].event.Args["completion"] = "none"
		if err := t.end(w, k, t.last); err != nil {
			return err
		}
	}
	return nil
}
