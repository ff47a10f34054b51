package qmp

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// maxRequest bounds one request, in bytes.
const maxRequest = 1 << 20

// Error is an error with a class that clients may look at.
type Error struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

// Error implements error.
func (e *Error) Error() string { return e.Desc }

// The classes of errors.
const (
	GenericError    = "GenericError"
	CommandNotFound = "CommandNotFound"
	DeviceNotFound  = "DeviceNotFound"
)

// Server answers clients. Its methods may be called from any goroutine.
type Server struct {
	t     Target
	l     net.Listener
	now   func() time.Time
	table map[string]command

	mu      sync.Mutex
	clients map[*client]bool
	closed  bool
	wg      sync.WaitGroup
}

// client is one connection.
type client struct {
	conn       io.ReadWriteCloser
	mu         sync.Mutex // guards writing
	negotiated bool
}

// Serve answers the clients that connect to l until Close.
func Serve(l net.Listener, t Target) *Server {
	s := &Server{t: t, l: l, now: time.Now, table: table(), clients: map[*client]bool{}}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.start(conn)
		}
	}()
	return s
}

func (s *Server) start(conn io.ReadWriteCloser) {
	c := &client{conn: conn}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return
	}
	s.clients[c] = true
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		s.serve(c)
		_ = conn.Close()
		s.mu.Lock()
		delete(s.clients, c)
		s.mu.Unlock()
	}()
}

// Close ends all connections and waits for what they do.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	err := s.l.Close()
	for c := range s.clients {
		_ = c.conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

// Event tells all clients that something has happened.
func (s *Server) Event(name string, data any) {
	t := s.now()
	e := map[string]any{"event": name, "timestamp": map[string]int64{"seconds": t.Unix(), "microseconds": int64(t.Nanosecond() / 1000)}}
	if data != nil {
		e["data"] = data
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		c.mu.Lock()
		if c.negotiated {
			c.write(e)
		}
		c.mu.Unlock()
	}
}

func (c *client) send(v any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write(v)
}

// write is send for who holds mu. A client that does not read loses its connection.
func (c *client) write(v any) {
	p, err := json.Marshal(v)
	if err != nil {
		return
	}
	if d, ok := c.conn.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = d.SetWriteDeadline(time.Now().Add(5 * time.Second))
	}
	if _, err := c.conn.Write(append(p, '\r', '\n')); err != nil {
		_ = c.conn.Close()
	}
}

// request is one command.
type request struct {
	Execute   string          `json:"execute"`
	Arguments json.RawMessage `json:"arguments"`
	ID        json.RawMessage `json:"id"`
}

// response answers it.
type response struct {
	Return any             `json:"return,omitempty"`
	Error  *Error          `json:"error,omitempty"`
	ID     json.RawMessage `json:"id,omitempty"`
}

// serve talks to one client until it goes.
func (s *Server) serve(c *client) {
	c.send(map[string]any{"QMP": map[string]any{
		"version": map[string]any{
			"qemu": map[string]int{"major": 7, "minor": 2, "micro": 0}, "package": "dfemu",
		},
		"capabilities": []string{},
	}})
	d := json.NewDecoder(bufio.NewReader(&limited{r: c.conn, left: maxRequest}))
	for {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			if !errors.Is(err, io.EOF) {
				c.send(response{Error: &Error{GenericError, fmt.Sprintf("JSON parse error: %v", err)}})
			}
			return
		}
		var r request
		if err := json.Unmarshal(raw, &r); err != nil || r.Execute == "" {
			c.send(response{Error: &Error{GenericError, "QMP input must be a JSON object with the member 'execute'"}, ID: r.ID})
			continue
		}
		v, err := s.execute(c, &r)
		if err != nil {
			e := &Error{}
			if !errors.As(err, &e) {
				e = &Error{GenericError, err.Error()}
			}
			c.send(response{Error: e, ID: r.ID})
			continue
		}
		if v == nil {
			v = struct{}{}
		}
		c.send(response{Return: v, ID: r.ID})
		if r.Execute == "quit" {
			return
		}
	}
}

// limited bounds what is read at a time between two requests.
type limited struct {
	r    io.Reader
	left int
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:min(len(p), 64<<10)])
	for _, b := range p[:n] {
		if b == '\n' || b == '}' {
			l.left = maxRequest
		} else if l.left--; l.left < 0 {
			return 0, fmt.Errorf("a request is longer than %d bytes", maxRequest)
		}
	}
	return n, err
}

func (s *Server) execute(c *client, r *request) (any, error) {
	if r.Execute == "qmp_capabilities" {
		c.mu.Lock()
		c.negotiated = true
		c.mu.Unlock()
		return nil, nil
	}
	c.mu.Lock()
	ok := c.negotiated
	c.mu.Unlock()
	if !ok {
		return nil, &Error{CommandNotFound, fmt.Sprintf("Expecting capabilities negotiation with 'qmp_capabilities' before command '%s'", r.Execute)}
	}
	f := s.table[r.Execute]
	if f == nil {
		return nil, &Error{CommandNotFound, fmt.Sprintf("The command %s has not been found", r.Execute)}
	}
	return f(s, r.Arguments)
}
