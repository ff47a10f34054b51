package watch

import (
	"encoding/json"
	"fmt"
	"io"
)

// jsonEvent is an event as one line of JSON. Addresses and values are hexadecimal strings, since not every
// reader keeps 64 bits of a number.
type jsonEvent struct {
	Time   int64             `json:"ns"`
	Device string            `json:"device"`
	Kind   string            `json:"kind"`
	Name   string            `json:"name,omitempty"`
	Op     string            `json:"op,omitempty"`
	Value  string            `json:"value,omitempty"`
	Size   int               `json:"size,omitempty"`
	Fields map[string]string `json:"fields,omitempty"`
	Queue  *int              `json:"queue,omitempty"`
	Tag    *int              `json:"tag,omitempty"`
	NSID   uint32            `json:"nsid,omitempty"`
	LBA    *uint64           `json:"lba,omitempty"`
	Blocks uint64            `json:"blocks,omitempty"`
	Addr   string            `json:"addr,omitempty"`
	Bytes  uint64            `json:"bytes,omitempty"`
	Status string            `json:"status,omitempty"`
	Code   string            `json:"code,omitempty"`
	Vector *int              `json:"vector,omitempty"`
	Level  *bool             `json:"level,omitempty"`
	Clause string            `json:"clause,omitempty"`
	CPU    *int              `json:"cpu,omitempty"`
	RIP    string            `json:"rip,omitempty"`
	Symbol string            `json:"symbol,omitempty"`
}

func writeJSON(w io.Writer, e *Event) error {
	j := jsonEvent{
		Time: e.Time, Device: e.Device, Kind: e.Kind.String(), Name: e.Name, NSID: e.NSID, Blocks: e.Blocks,
		Bytes: e.Bytes, Status: e.Status, Clause: e.Clause, Symbol: e.Place.Symbol,
	}
	op := "read"
	if e.Write {
		op = "write"
	}
	switch e.Kind {
	case KindRegister:
		j.Op, j.Value, j.Size = op, fmt.Sprintf("%#x", e.Value), e.Size
	case KindCommand, KindCompletion, KindFault:
		j.Op, j.Value, j.Queue, j.Tag = op, fmt.Sprintf("%#x", e.Value), &e.Queue, &e.Tag
		if e.Blocks != 0 {
			j.LBA = &e.LBA
		}
		if e.Kind == KindCompletion {
			j.Code = fmt.Sprintf("%#x", e.StatusCode)
		}
	case KindDMA:
		j.Op, j.Addr = op, fmt.Sprintf("%#x", e.Addr)
	case KindInterrupt:
		j.Vector = &e.Vector
		if e.Vector < 0 {
			j.Level = &e.Level
		}
	}
	for _, f := range e.Fields {
		if j.Fields == nil {
			j.Fields = map[string]string{}
		}
		j.Fields[f.Name] = fmt.Sprintf("%#x", f.Value)
	}
	if e.Place.CPU >= 0 {
		j.CPU, j.RIP = &e.Place.CPU, fmt.Sprintf("%#x", e.Place.RIP)
	}
	p, err := json.Marshal(&j)
	if err != nil {
		return err
	}
	_, err = w.Write(append(p, '\n'))
	return err
}
