package qmp

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// inflatable is a machine with a balloon.
type inflatable struct {
	fake
	size uint64
	err  error
}

func (f *inflatable) Balloon(n uint64) error       { f.size = n; return f.err }
func (f *inflatable) BalloonSize() (uint64, error) { return f.size, f.err }
func (f *inflatable) BalloonStats() (map[string]uint64, error) {
	return map[string]uint64{"stat-free-memory": 5}, f.err
}

func TestBalloon(t *testing.T) {
	for _, x := range []struct {
		name, args string
		target     Target
		want       string
	}{
		{"balloon", `{"value":1048576}`, &inflatable{}, "null"},
		{"query-balloon", "", &inflatable{size: 77}, `{"actual":77}`},
		{"x-query-balloon-stats", "", &inflatable{}, `{"stats":{"stat-free-memory":5}}`},
		{"balloon", `{"value":0}`, &inflatable{}, "expects a size"},
		{"balloon", `{"value":-1}`, &inflatable{}, "arguments"},
		{"balloon", `{}`, &inflatable{}, "expects a size"},
		{"balloon", `{"value":1}`, &inflatable{err: errors.New("none")}, "No balloon: none"},
		{"query-balloon", `{"value":1}`, &inflatable{}, "unknown field"},
		{"query-balloon", "", &fake{}, "No balloon device"},
		{"x-query-balloon-stats", "", &inflatable{err: errors.New("none")}, "No balloon: none"},
	} {
		v, err := table()[x.name](&Server{t: x.target}, json.RawMessage(x.args))
		got, merr := json.Marshal(v)
		if merr != nil {
			t.Fatal(merr)
		}
		if err != nil {
			got = []byte(err.Error())
		}
		if !strings.Contains(string(got), x.want) {
			t.Errorf("%s %s: %s, want %s", x.name, x.args, got, x.want)
		}
	}
}
