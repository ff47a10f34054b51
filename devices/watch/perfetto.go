package watch

import (
	"encoding/json"
	"fmt"
	"io"
)

// tracks writes the Chrome trace event format: a process for each device and in it a track for each queue, for its
// registers, its interrupt vectors, its transfers. Commands are slices from when they were taken to their completion.
type tracks struct {
	started bool
	pids    map[string]int
	tids    map[string]int
}

// chromeEvent is one event of the format. Times are in µs.
type chromeEvent struct {
	Name string         `json:"name"`
	Ph   string         `json:"ph"`
	TS   float64        `json:"ts"`
	PID  int            `json:"pid"`
	TID  int            `json:"tid"`
	ID   string         `json:"id,omitempty"`
	Cat  string         `json:"cat,omitempty"`
	S    string         `json:"s,omitempty"`
	Args map[string]any `json:"args,omitempty"`
}

func (t *tracks) begin(w io.Writer) {
	t.pids, t.tids = map[string]int{}, map[string]int{}
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

func (t *tracks) write(w io.Writer, e *Event) error {
	track := ""
	c := chromeEvent{Name: e.Name, Ph: "i", S: "t", Cat: e.Kind.String(), TS: float64(e.Time) / 1e3, Args: map[string]any{"text": e.Text()}}
	switch e.Kind {
	case KindRegister:
		track = "registers"
	case KindCommand, KindCompletion:
		track = fmt.Sprintf("queue %d", e.Queue)
		c.Ph, c.S = "b", ""
		if e.Kind == KindCompletion {
			c.Ph = "e"
		}
		c.ID = fmt.Sprintf("%s/%d/%d", e.Device, e.Queue, e.Tag)
	case KindFault:
		track = fmt.Sprintf("queue %d", e.Queue)
	case KindInterrupt:
		track = "INTx"
		c.Name = "INTx"
		if e.Vector >= 0 {
			track = fmt.Sprintf("MSI %d", e.Vector)
			c.Name = track
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
