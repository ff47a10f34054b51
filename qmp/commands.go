package qmp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
)

// Target is the machine that is controlled.
type Target interface {
	// Running reports whether the processors execute, or the machine is paused.
	Running() bool
	Pause()
	Resume()
	Reset()
	PowerButton()
	// Quit ends the run.
	Quit()
	CPUs() int
	Name() string

	// Blocks, NICs and Functions describe the devices.
	Blocks() []Block
	NICs() []NIC
	Functions() []Function

	// PowerLoss pulls the plug.
	PowerLoss() error

	// Plug adds a device, described as on the command line, and returns its unit name; Unplug asks the guest to
	// release one, or takes it away without asking. An option has a value for each time that it is given, "on" or "off" for a switch.
	Plug(kind string, options map[string][]string) (unit string, err error)
	Unplug(name string, surprise bool) error
	// Eject removes the medium of a drive, Insert puts one in.
	Eject(name string) error
	Insert(name, file string) error
	SetLink(name string, up bool) error

	// AddFault, RemoveFaults and Faults are those of package watch.
	AddFault(rule string) error
	RemoveFaults(rule string) int
	Faults() []Fault
	// SerialLog returns the last output of a serial port.
	SerialLog(port int) ([]byte, error)
}

// Block describes a drive.
type Block struct {
	Device   string // name of the drive
	Unit     string // name of what is unplugged with it
	File     string
	Format   string
	Size     int64 // bytes
	ReadOnly bool
	// Removable: the medium can be taken out; Locked: the guest does not let it go; Medium: there is one.
	Removable, Locked, Medium bool
}

// NIC describes a network device.
type NIC struct {
	Name, Model, MAC string
	Backend          string
	Link             bool
}

// Function is a PCI function.
type Function struct {
	Bus, Slot, Fn  int
	Vendor, Device uint16
	Class          uint32
	Name           string
}

// Fault is a rule and how often it was applied.
type Fault struct {
	Rule    string `json:"rule"`
	Applied uint64 `json:"applied"`
}

type command func(s *Server, args json.RawMessage) (any, error)

// arguments reads a command's arguments, of which no others are allowed.
func arguments(args json.RawMessage, v any) error {
	if len(args) == 0 {
		args = []byte("{}")
	}
	d := json.NewDecoder(bytes.NewReader(args))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("arguments: %w", err)
	}
	return nil
}

// announced makes a command of a function that only acts, after an event about it.
func announced(f func(t Target), event string, data any) command {
	return func(s *Server, args json.RawMessage) (any, error) {
		if err := arguments(args, &struct{}{}); err != nil {
			return nil, err
		}
		s.Event(event, data)
		f(s.t)
		return nil, nil
	}
}

// table is the table of commands.
func table() map[string]command {
	return map[string]command{
		"query-status":           queryStatus,
		"query-version":          queryVersion,
		"query-name":             func(s *Server, _ json.RawMessage) (any, error) { return map[string]string{"name": s.t.Name()}, nil },
		"query-commands":         queryCommands,
		"query-cpus-fast":        queryCPUs,
		"query-block":            queryBlock,
		"query-pci":              queryPCI,
		"query-rx-filter":        queryNet,
		"x-query-net":            queryNet,
		"stop":                   stop,
		"cont":                   cont,
		"system_reset":           announced(Target.Reset, "RESET", map[string]any{"guest": false, "reason": "host-qmp-system-reset"}),
		"system_powerdown":       announced(Target.PowerButton, "POWERDOWN", nil),
		"quit":                   announced(Target.Quit, "SHUTDOWN", map[string]any{"guest": false, "reason": "host-qmp-quit"}),
		"device_add":             deviceAdd,
		"device_del":             deviceDel,
		"eject":                  eject,
		"blockdev-change-medium": changeMedium,
		"set_link":               setLink,
		"x-fault-add":            faultAdd,
		"x-fault-remove":         faultRemove,
		"x-power-loss":           func(s *Server, _ json.RawMessage) (any, error) { return nil, s.t.PowerLoss() },
		"x-fault-list":           func(s *Server, _ json.RawMessage) (any, error) { return append([]Fault{}, s.t.Faults()...), nil },
		"screendump":             screendump,
		"balloon":                balloon,
		"query-balloon":          queryBalloon,
		"x-query-balloon-stats":  queryBalloonStats,
	}
}

func queryStatus(s *Server, _ json.RawMessage) (any, error) {
	status := "paused"
	if s.t.Running() {
		status = "running"
	}
	return map[string]any{"status": status, "running": s.t.Running(), "singlestep": false}, nil
}

func queryVersion(*Server, json.RawMessage) (any, error) {
	return map[string]any{"qemu": map[string]int{"major": 7, "minor": 2, "micro": 0}, "package": "dfemu"}, nil
}

func queryCommands(*Server, json.RawMessage) (any, error) {
	var l []map[string]string
	for _, name := range append(slices.Sorted(maps.Keys(table())), "qmp_capabilities") {
		l = append(l, map[string]string{"name": name})
	}
	return l, nil
}

func queryCPUs(s *Server, _ json.RawMessage) (any, error) {
	l := []map[string]any{}
	for i := range s.t.CPUs() {
		l = append(l, map[string]any{"cpu-index": i, "target": "x86_64", "thread-id": i, "qom-path": fmt.Sprintf("/machine/cpu/%d", i)})
	}
	return l, nil
}

func queryBlock(s *Server, _ json.RawMessage) (any, error) {
	l := []map[string]any{}
	for _, b := range s.t.Blocks() {
		e := map[string]any{"device": b.Device, "qdev": b.Unit, "type": "unknown", "removable": b.Removable, "locked": b.Locked}
		if b.Medium {
			e["inserted"] = map[string]any{
				"file": b.File, "drv": b.Format, "ro": b.ReadOnly, "encrypted": false,
				"image": map[string]any{"filename": b.File, "format": b.Format, "virtual-size": b.Size},
			}
		}
		l = append(l, e)
	}
	return l, nil
}

func queryPCI(s *Server, _ json.RawMessage) (any, error) {
	buses := map[int][]map[string]any{}
	for _, f := range s.t.Functions() {
		buses[f.Bus] = append(buses[f.Bus], map[string]any{
			"bus": f.Bus, "slot": f.Slot, "function": f.Fn, "qdev_id": f.Name,
			"class_info": map[string]any{"class": f.Class >> 8},
			"id":         map[string]any{"vendor": f.Vendor, "device": f.Device},
			"regions":    []any{},
		})
	}
	l := []map[string]any{}
	for _, n := range slices.Sorted(maps.Keys(buses)) {
		l = append(l, map[string]any{"bus": n, "devices": buses[n]})
	}
	return l, nil
}

func queryNet(s *Server, _ json.RawMessage) (any, error) {
	l := []map[string]any{}
	for _, n := range s.t.NICs() {
		l = append(l, map[string]any{"name": n.Name, "model": n.Model, "main-mac": n.MAC, "backend": n.Backend, "link": n.Link})
	}
	return l, nil
}

func stop(s *Server, _ json.RawMessage) (any, error) {
	if s.t.Running() {
		s.t.Pause()
		s.Event("STOP", nil)
	}
	return nil, nil
}

func cont(s *Server, _ json.RawMessage) (any, error) {
	if !s.t.Running() {
		s.t.Resume()
		s.Event("RESUME", nil)
	}
	return nil, nil
}

func deviceAdd(s *Server, args json.RawMessage) (any, error) {
	var m map[string]any
	if len(args) != 0 {
		d := json.NewDecoder(bytes.NewReader(args))
		d.UseNumber() // digits stay as they are written
		if err := d.Decode(&m); err != nil {
			return nil, fmt.Errorf("arguments: %w", err)
		}
	}
	kind, _ := m["driver"].(string)
	if kind == "" {
		return nil, &Error{GenericError, "Parameter 'driver' is missing: the name of a model, as 'nvme'"}
	}
	delete(m, "driver")
	o := map[string][]string{}
	for k, v := range m {
		l, ok := v.([]any)
		if !ok {
			l = []any{v}
		}
		for _, v := range l {
			text, err := optionText(v)
			if err != nil {
				return nil, &Error{GenericError, fmt.Sprintf("Parameter '%s' %v", k, err)}
			}
			o[k] = append(o[k], text)
		}
	}
	unit, err := s.t.Plug(kind, o)
	if err != nil || unit == "" {
		return nil, err
	}
	return map[string]string{"x-unit": unit}, nil
}

// optionText is a value as it stands on the command line.
func optionText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		if v {
			return "on", nil
		}
		return "off", nil
	}
	return "", errors.New("expects a string, a number, true or false, or an array of these")
}

func deviceDel(s *Server, args json.RawMessage) (any, error) {
	var a struct {
		ID       string `json:"id"`
		Surprise bool   `json:"x-surprise"`
	}
	if err := arguments(args, &a); err != nil {
		return nil, err
	}
	return nil, s.t.Unplug(a.ID, a.Surprise)
}

func eject(s *Server, args json.RawMessage) (any, error) {
	var a struct {
		Device string `json:"device"`
		ID     string `json:"id"`
		Force  bool   `json:"force"`
	}
	if err := arguments(args, &a); err != nil {
		return nil, err
	}
	if a.Device == "" {
		a.Device = a.ID
	}
	return nil, s.t.Eject(a.Device)
}

func changeMedium(s *Server, args json.RawMessage) (any, error) {
	var a struct {
		Device   string `json:"device"`
		ID       string `json:"id"`
		Filename string `json:"filename"`
		Format   string `json:"format"`
	}
	if err := arguments(args, &a); err != nil {
		return nil, err
	}
	if a.Device == "" {
		a.Device = a.ID
	}
	return nil, s.t.Insert(a.Device, a.Filename)
}

func setLink(s *Server, args json.RawMessage) (any, error) {
	var a struct {
		Name string `json:"name"`
		Up   bool   `json:"up"`
	}
	if err := arguments(args, &a); err != nil {
		return nil, err
	}
	return nil, s.t.SetLink(a.Name, a.Up)
}

func faultAdd(s *Server, args json.RawMessage) (any, error) {
	var a struct {
		Rule string `json:"rule"`
	}
	if err := arguments(args, &a); err != nil {
		return nil, err
	}
	return nil, s.t.AddFault(a.Rule)
}

func faultRemove(s *Server, args json.RawMessage) (any, error) {
	var a struct {
		Rule string `json:"rule"`
	}
	if err := arguments(args, &a); err != nil {
		return nil, err
	}
	return map[string]int{"removed": s.t.RemoveFaults(a.Rule)}, nil
}

// screendump returns what the guest wrote to a serial port last: the machine has no screen.
func screendump(s *Server, args json.RawMessage) (any, error) {
	var a struct {
		Port     int    `json:"x-port"`
		Filename string `json:"filename"`
	}
	if err := arguments(args, &a); err != nil {
		return nil, err
	}
	p, err := s.t.SerialLog(a.Port)
	if err != nil {
		return nil, err
	}
	if a.Filename != "" {
		return nil, os.WriteFile(a.Filename, p, 0o644)
	}
	return map[string]string{"text": string(p)}, nil
}
