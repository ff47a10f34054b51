package qmp

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// Client is the other end of a control socket. It belongs to one goroutine.
type Client struct {
	conn net.Conn
	d    *json.Decoder
	// Event, if not nil, is called for the events that arrive between a command and its answer.
	Event func(name string, data json.RawMessage)
}

// Dial connects to the control socket of a machine.
func Dial(path string) (*Client, error) {
	conn, err := net.DialTimeout("unix", path, 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w: is a machine running with --control %s?", err, path)
	}
	c := &Client{conn: conn, d: json.NewDecoder(bufio.NewReader(conn))}
	var hello struct {
		QMP *json.RawMessage
	}
	if err := c.d.Decode(&hello); err != nil || hello.QMP == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("control socket %s: no greeting", path)
	}
	if _, err := c.Execute("qmp_capabilities", nil); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Execute sends a command and returns its answer. An error that the machine reports is a *Error.
func (c *Client) Execute(name string, args any) (json.RawMessage, error) {
	m := map[string]any{"execute": name}
	if args != nil {
		m["arguments"] = args
	}
	p, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(append(p, '\n')); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	for {
		var r struct {
			Return json.RawMessage `json:"return"`
			Error  *Error          `json:"error"`
			Event  string          `json:"event"`
			Data   json.RawMessage `json:"data"`
		}
		if err := c.d.Decode(&r); err != nil {
			return nil, fmt.Errorf("control socket: %w", err)
		}
		switch {
		case r.Event != "":
			if c.Event != nil {
				c.Event(r.Event, r.Data)
			}
		case r.Error != nil:
			return nil, r.Error
		default:
			return r.Return, nil
		}
	}
}
