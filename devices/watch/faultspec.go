package watch

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"strconv"
	"strings"
	"time"
)

// ParseRule reads a fault as it is written on the command line: DEVICE, then conditions, then actions, all separated by
// commas. DEVICE is a pattern. Conditions:
//
//	op=PATTERN       the command's name, with * and ? ("*read*"), or its number
//	admin=yes|no     an administrative command or not
//	queue=N ns=N     the queue or port, the namespace
//	lba=N[-M]        it touches one of these blocks
//	after=T until=T  the machine's time, as 1.5s
//	nth=N every=N    the N-th command that matches, each N-th
//	times=N          at most so often
//	p=X seed=N       with this probability; the same seed repeats the same run
//
// Actions: fail[=STATUS], delay=T, hang, drop, duplicate, hold=N, lose-irq, extra-irq, short=BYTES, flip[=BITS], flip-table[=BIT], and those that are done
// to the device or the machine: link-down[=T], for a time or for good, link-up, remove, power-loss. The command that provokes remove or power-loss is not
// executed; with the others it is, unless the rule says otherwise as well. With at=T instead of conditions these go by the machine's time alone, and DEVICE
// is the unit name of what is meant.
func ParseRule(s string) (*Rule, error) {
	r := &Rule{Text: s, OpCode: -1, Admin: -1, Queue: -1, NSID: -1, P: 1}
	seed, acts, conditional := uint64(1), false, false
	for i, part := range strings.Split(s, ",") {
		k, v, has := strings.Cut(part, "=")
		if i == 0 && !has {
			if _, err := path.Match(k, ""); err != nil || k == "" {
				return nil, fmt.Errorf("--fault %s: %q is not the name of a device or a pattern", s, k)
			}
			r.Device = k
			continue
		}
		act, err := r.set(k, v, has, &seed)
		if err != nil {
			return nil, fmt.Errorf("--fault %s: %s: %w", s, part, err)
		}
		acts = acts || act
		conditional = conditional || !act && k != "at" && k != "seed"
	}
	switch {
	case r.Device == "":
		return nil, fmt.Errorf("--fault %s: begin with the device, as nvme0 or *", s)
	case !acts:
		return nil, fmt.Errorf("--fault %s: no action: add fail, delay=T, hang, drop, duplicate, hold=N, lose-irq, extra-irq, short=N, flip, flip-table, link-down, link-up, remove or power-loss", s)
	}
	if err := r.checkTimed(conditional); err != nil {
		return nil, fmt.Errorf("--fault %s: %w", s, err)
	}
	r.rng = rand.New(rand.NewPCG(seed, 0x6466656d75))
	return r, nil
}

// set enters one part. act reports whether it is an action.
func (r *Rule) set(k, v string, has bool, seed *uint64) (act bool, err error) {
	number := func(limit int) (n uint64) {
		if err == nil {
			n, err = strconv.ParseUint(v, 0, limit)
		}
		return n
	}
	duration := func() int64 {
		d, e := time.ParseDuration(v)
		if e != nil || d < 0 {
			err = fmt.Errorf("%q is not a time, as 10ms", v)
		}
		return int64(d)
	}
	e := &r.Effect
	switch k {
	case "at":
		r.Timed, r.At = true, duration()
	case "op":
		if n, e := strconv.ParseUint(v, 0, 32); e == nil {
			r.OpCode = int64(n)
			return false, nil
		}
		r.Op = strings.ToLower(v)
		_, err = path.Match(r.Op, "")
	case "admin":
		switch v {
		case "yes":
			r.Admin = 1
		case "no":
			r.Admin = 0
		default:
			err = fmt.Errorf("must be yes or no")
		}
	case "queue":
		r.Queue = int64(number(16))
	case "ns":
		r.NSID = int64(number(32))
	case "lba":
		from, to, ok := strings.Cut(v, "-")
		r.HasLBA = true
		if r.LBA[0], err = strconv.ParseUint(from, 0, 64); err == nil {
			r.LBA[1] = r.LBA[0]
			if ok {
				r.LBA[1], err = strconv.ParseUint(to, 0, 64)
			}
		}
		if err == nil && r.LBA[1] < r.LBA[0] {
			err = fmt.Errorf("the range is empty")
		}
	case "after":
		r.After = duration()
	case "until":
		r.Until = duration()
	case "nth":
		r.Nth = number(63)
	case "every":
		r.Every = number(63)
	case "times":
		r.Times = number(63)
	case "seed":
		*seed = number(64)
	case "p":
		if r.P, err = strconv.ParseFloat(v, 64); err == nil && !(r.P >= 0 && r.P <= 1) {
			err = fmt.Errorf("a probability is from 0 to 1")
		}
	default:
		return true, r.action(k, v, has, number, duration, &err)
	}
	if e != nil && !has && err == nil {
		err = fmt.Errorf("a value is missing")
	}
	return false, err
}

func (r *Rule) action(k, v string, has bool, number func(int) uint64, duration func() int64, err *error) error {
	e := &r.Effect
	switch k {
	case "fail":
		e.Fail = true
		if has {
			e.Status = uint32(number(32))
		}
	case "delay":
		e.Delay = duration()
	case "hang":
		e.Hang = true
	case "drop":
		e.Drop = true
	case "duplicate":
		e.Duplicate = true
	case "hold":
		e.Hold = int(number(16))
	case "lose-irq":
		e.LoseInterrupt = true
	case "extra-irq":
		e.ExtraInterrupt = true
	case "short":
		e.ShortOn, e.Short = true, int64(number(40))
	case "flip":
		e.FlipData = 1
		if has {
			e.FlipData = number(20)
		}
	case "flip-table":
		r.AnyBit = !has
		if has {
			e.FlipTable = 1 << number(6)
		}
	case "link-down", "link-up", "remove", "power-loss":
		if r.Act != 0 {
			return fmt.Errorf("one of link-down, link-up, remove and power-loss is possible")
		}
		r.Act = actNames[k]
		e.Hang = e.Hang || r.Act == Remove || r.Act == PowerLoss
		switch {
		case has && r.Act != LinkDown:
			return fmt.Errorf("it has no value")
		case has:
			r.For = duration()
		}
	default:
		return fmt.Errorf("no such condition or action")
	}
	return *err
}

// ReadRules reads a file of faults, one a line; empty lines and those that begin with # are passed over.
func ReadRules(in io.Reader) ([]*Rule, error) {
	var l []*Rule
	s := bufio.NewScanner(in)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		r, err := ParseRule(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		l = append(l, r)
	}
	return l, s.Err()
}
