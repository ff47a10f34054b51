package qmp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fake is a machine that writes down what it is told.
type fake struct {
	running bool
	log     []string
}

func (f *fake) note(format string, a ...any) { f.log = append(f.log, fmt.Sprintf(format, a...)) }

func (f *fake) Running() bool { return f.running }
func (f *fake) Pause()        { f.running = false; f.note("pause") }
func (f *fake) Resume()       { f.running = true; f.note("resume") }
func (f *fake) Reset()        { f.note("reset") }
func (f *fake) PowerButton()  { f.note("power") }
func (f *fake) Quit()         { f.note("quit") }
func (f *fake) CPUs() int     { return 2 }
func (f *fake) Name() string  { return "m" }
func (f *fake) Blocks() []Block {
	return []Block{{Device: "nvme0n1", Unit: "nvme0", File: "d.img", Format: "raw", Size: 4096, Medium: true}, {Device: "cd0", Removable: true}}
}
func (f *fake) NICs() []NIC { return []NIC{{Name: "net0", Model: "virtio", Link: true}} }
func (f *fake) Functions() []Function {
	return []Function{{Bus: 1, Slot: 2, Vendor: 0x8086, Device: 1, Class: 0x010802, Name: "nvme0"}}
}
func (f *fake) Plug(kind string, o map[string][]string) (string, error) {
	f.note("plug %s %v", kind, o)
	return strings.Join(o["id"], " "), nil
}
func (f *fake) PowerLoss() error { f.note("power loss"); return nil }
func (f *fake) Unplug(name string, surprise bool) error {
	if name != "nvme0" {
		return &Error{DeviceNotFound, "Device '" + name + "' not found"}
	}
	f.note("unplug %s %v", name, surprise)
	return nil
}
func (f *fake) Eject(name string) error            { f.note("eject %s", name); return nil }
func (f *fake) Insert(name, file string) error     { f.note("insert %s %s", name, file); return nil }
func (f *fake) SetLink(name string, up bool) error { f.note("link %s %v", name, up); return nil }
func (f *fake) AddFault(rule string) error {
	if rule == "" {
		return errors.New("empty rule")
	}
	f.note("fault %s", rule)
	return nil
}
func (f *fake) RemoveFaults(string) int            { return 3 }
func (f *fake) Faults() []Fault                    { return []Fault{{"r", 1}} }
func (f *fake) SerialLog(port int) ([]byte, error) { return []byte(fmt.Sprintf("port %d", port)), nil }

func serve(t *testing.T) (*fake, *Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{running: true}
	s := Serve(l, f)
	t.Cleanup(func() { _ = s.Close() })
	return f, s, path
}

func TestCommands(t *testing.T) {
	f, _, path := serve(t)
	c, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var events []string
	c.Event = func(name string, _ json.RawMessage) { events = append(events, name) }
	for _, x := range []struct {
		name string
		args map[string]any
		want string // part of the answer, or of the error
		log  string
	}{
		{"query-status", nil, `"status":"running"`, ""},
		{"stop", nil, "{}", "pause"},
		{"stop", nil, "{}", ""},
		{"query-status", nil, `"status":"paused"`, ""},
		{"cont", nil, "{}", "resume"},
		{"query-version", nil, `"package":"dfemu"`, ""},
		{"query-commands", nil, `"name":"x-fault-add"`, ""},
		{"query-cpus-fast", nil, `"cpu-index":1`, ""},
		{"query-block", nil, `"virtual-size":4096`, ""},
		{"query-block", nil, `"qdev":"nvme0"`, ""},
		{"query-block", nil, `"device":"cd0","locked":false,"qdev":"","removable":true`, ""},
		{"query-pci", nil, `"vendor":32902`, ""},
		{"x-query-net", nil, `"link":true`, ""},
		{"system_reset", nil, "{}", "reset"},
		{"system_powerdown", nil, "{}", "power"},
		{"device_add", map[string]any{"driver": "nvme", "id": "nvme1", "file": "x", "port": 2}, `{"x-unit":"nvme1"}`, "plug nvme map[file:[x] id:[nvme1] port:[2]]"},
		{"device_add", map[string]any{"driver": "nvme", "iops": 1000000, "serial": "007", "ro": true, "pool": false}, "{}", "plug nvme map[iops:[1000000] pool:[off] ro:[on] serial:[007]]"},
		{"device_add", map[string]any{"driver": "e1000e", "hostfwd": []string{"tcp::1-:2", "tcp::3-:4"}}, "{}", "plug e1000e map[hostfwd:[tcp::1-:2 tcp::3-:4]]"},
		{"device_add", map[string]any{"driver": "nvme", "file": map[string]int{}}, "'file' expects a string", ""},
		{"device_add", map[string]any{"driver": "nvme", "file": []any{[]int{1}}}, "'file' expects a string", ""},
		{"device_add", nil, "'driver' is missing", ""},
		{"device_add", map[string]any{"id": "x"}, "'driver' is missing", ""},
		{"device_del", map[string]any{"id": "nvme0", "x-surprise": true}, "{}", "unplug nvme0 true"},
		{"device_del", map[string]any{"id": "none"}, "not found", ""},
		{"device_del", map[string]any{"name": "nvme0"}, "unknown field", ""},
		{"eject", map[string]any{"device": "cd0"}, "{}", "eject cd0"},
		{"blockdev-change-medium", map[string]any{"id": "cd0", "filename": "a.iso"}, "{}", "insert cd0 a.iso"},
		{"set_link", map[string]any{"name": "net0", "up": false}, "{}", "link net0 false"},
		{"x-fault-add", map[string]any{"rule": "nvme0,fail"}, "{}", "fault nvme0,fail"},
		{"x-fault-add", nil, "empty rule", ""},
		{"x-fault-remove", nil, `"removed":3`, ""},
		{"x-fault-list", nil, `"applied":1`, ""},
		{"screendump", map[string]any{"x-port": 1}, "port 1", ""},
		{"human-monitor-command", nil, "has not been found", ""},
		{"x-power-loss", nil, "{}", "power loss"},
		{"quit", nil, "{}", "quit"},
	} {
		f.log = nil
		got, err := c.Execute(x.name, x.args)
		answer := string(got)
		if err != nil {
			answer = err.Error()
		}
		if !strings.Contains(answer, x.want) || strings.Join(f.log, ";") != x.log {
			t.Errorf("%s %v: %s, did %q; want %s, %q", x.name, x.args, answer, f.log, x.want, x.log)
		}
	}
	if strings.Join(events, " ") != "STOP RESUME RESET POWERDOWN SHUTDOWN" {
		t.Errorf("events %q", events)
	}
}

// TestProtocol talks as a client may that is no Client.
func TestProtocol(t *testing.T) {
	_, s, path := serve(t)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(conn)
	next := func() string {
		t.Helper()
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	if g := next(); !strings.Contains(g, `"QMP"`) || !strings.Contains(g, `"capabilities"`) {
		t.Errorf("greeting %s", g)
	}
	for _, x := range []struct{ send, want string }{
		{`{"execute":"query-status"}`, "CommandNotFound"},
		{`{"execute":"qmp_capabilities","id":7}`, `"id":7`},
		{`{"execute":"query-status","id":{"a":1}}{"execute":"query-name"}`, `"id":{"a":1}`},
		{``, `"name":"m"`},
		{`[1]`, "must be a JSON object"},
		{`{"x":1}`, "must be a JSON object"},
		{`{"execute":"nothing"}`, "CommandNotFound"},
	} {
		if _, err := io.WriteString(conn, x.send); err != nil {
			t.Fatal(err)
		}
		if got := next(); !strings.Contains(got, x.want) {
			t.Errorf("%s: %s, want %s", x.send, got, x.want)
		}
	}
	s.Event("SHUTDOWN", map[string]bool{"guest": true})
	if got := next(); !strings.Contains(got, `"event":"SHUTDOWN"`) || !strings.Contains(got, `"guest":true`) {
		t.Errorf("event %s", got)
	}
	if _, err := io.WriteString(conn, "}{"); err != nil {
		t.Fatal(err)
	}
	if got := next(); !strings.Contains(got, "parse error") {
		t.Errorf("bad JSON: %s", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzServer(f *testing.F) {
	for _, s := range []string{`{"execute":"qmp_capabilities"}{"execute":"query-block"}`, `{"execute":"device_add","arguments":{"driver":1}}`, "[[[[", `{"execute":3}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		here, there := net.Pipe()
		s := &Server{t: &fake{}, now: time.Now, table: table(), clients: map[*client]bool{}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(io.Discard, here)
		}()
		go func() {
			_, _ = io.WriteString(here, `{"execute":"qmp_capabilities"}`+in)
			_ = here.Close()
		}()
		s.serve(&client{conn: there})
		_ = there.Close()
		<-done
	})
}
