package qmp

import (
	"encoding/json"
	"fmt"
)

// Ballooner is a [Target] whose guest's memory can be made smaller. Its methods fail when the machine has no balloon.
type Ballooner interface {
	// Balloon has the guest give memory up, or take it back, until it has bytes left.
	Balloon(bytes uint64) error
	// BalloonSize is how many bytes the guest has now.
	BalloonSize() (uint64, error)
	// BalloonStats returns what the guest says of its memory.
	BalloonStats() (map[string]uint64, error)
}

// DeviceNotActive is the class of errors about a balloon that is not there.
const DeviceNotActive = "DeviceNotActive"

func ballooner(s *Server) (Ballooner, error) {
	if b, ok := s.t.(Ballooner); ok {
		return b, nil
	}
	return nil, &Error{DeviceNotActive, "No balloon device has been activated"}
}

func balloon(s *Server, args json.RawMessage) (any, error) {
	var a struct {
		Value *uint64 `json:"value"`
	}
	if err := arguments(args, &a); err != nil {
		return nil, err
	}
	b, err := ballooner(s)
	if err != nil {
		return nil, err
	}
	if a.Value == nil || *a.Value == 0 {
		return nil, &Error{GenericError, "Parameter 'value' expects a size in bytes, not 0"}
	}
	return nil, notActive(b.Balloon(*a.Value))
}

func queryBalloon(s *Server, args json.RawMessage) (any, error) {
	if err := arguments(args, &struct{}{}); err != nil {
		return nil, err
	}
	b, err := ballooner(s)
	if err != nil {
		return nil, err
	}
	n, err := b.BalloonSize()
	if err != nil {
		return nil, notActive(err)
	}
	return map[string]uint64{"actual": n}, nil
}

func queryBalloonStats(s *Server, args json.RawMessage) (any, error) {
	if err := arguments(args, &struct{}{}); err != nil {
		return nil, err
	}
	b, err := ballooner(s)
	if err != nil {
		return nil, err
	}
	stats, err := b.BalloonStats()
	if err != nil {
		return nil, notActive(err)
	}
	return map[string]any{"stats": stats}, nil
}

func notActive(err error) error {
	if err == nil {
		return nil
	}
	return &Error{DeviceNotActive, fmt.Sprintf("No balloon: %v", err)}
}
