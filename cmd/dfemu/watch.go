package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"dfemu/devices/watch"
	"dfemu/machine"
	"dfemu/perf"
)

// watchFlags are the flags for whoever debugs a driver.
type watchFlags struct {
	trace, format, file, strict string
	symbols                     string
	faults                      []string
}

func (f *watchFlags) register(fl *pflag.FlagSet) {
	fl.StringVar(&f.trace, "trace", "", "trace devices: `DEVICE[:KIND[:NAME]],…`, as nvme0:cmd+irq,ahci*:reg")
	fl.StringVar(&f.format, "trace-format", "text", "text, json, or perfetto (for ui.perfetto.dev)")
	fl.StringVar(&f.file, "trace-file", "", "write the trace there instead of to stderr")
	fl.StringVar(&f.symbols, "trace-symbols", "", "name the guest's code in traces by this vmlinux, bzImage or System.map (with nokaslr)")
	fl.StringVar(&f.strict, "strict", "", "report what drivers do against the specifications: warn or stop")
	fl.Lookup("strict").NoOptDefVal = "warn"
	fl.StringArrayVar(&f.faults, "fault", nil, "inject a fault: `DEVICE,CONDITION…,ACTION…` or a file of them; see docs/faults.md")
}

// configure turns the flags into what the machine needs. The closer ends the trace.
func (f *watchFlags) configure(cfg *machine.Config, errOut io.Writer, control bool) (io.Closer, error) {
	w := &machine.Watch{}
	format, err := watch.ParseFormat(f.format)
	if err != nil {
		return nil, usageError{fmt.Errorf("--trace-format: %w", err)}
	}
	var close closeFunc = func() error { return nil }
	if f.trace != "" {
		out := errOut
		var file *os.File
		if f.file != "" {
			if file, err = os.Create(f.file); err != nil {
				return nil, fmt.Errorf("--trace-file: %w", err)
			}
			out = file
		}
		if w.Trace, err = watch.NewTrace(f.trace, format, out); err != nil {
			if file != nil {
				err = errors.Join(err, file.Close())
			}
			return nil, usageError{err}
		}
		close = func() error {
			err := w.Trace.Close()
			if file != nil {
				err = errors.Join(err, file.Close())
			}
			return err
		}
	}
	switch f.strict {
	case "":
	case "warn", "stop":
		w.Strict = &watch.Strict{Report: func(e *watch.Event) {
			fmt.Fprintf(errOut, "dfemu: strict: %s\r\n", e.Text())
		}}
		if f.strict == "stop" {
			w.Stopped = func(report string) {
				fmt.Fprint(errOut, strings.ReplaceAll(report, "\n", "\r\n"))
			}
		}
	default:
		return close, usageError{fmt.Errorf("--strict %s: must be warn or stop", f.strict)}
	}
	if f.symbols != "" {
		o, err := perf.Open(f.symbols)
		if err != nil {
			return close, usageError{fmt.Errorf("--trace-symbols: %w", err)}
		}
		w.Symbol = o.Name
	}
	w.Faults = &watch.Faults{}
	w.Told = func(line string) { fmt.Fprintf(errOut, "dfemu: %s\r\n", line) }
	for _, s := range f.faults {
		rules, err := readFaults(s)
		if err != nil {
			return close, usageError{err}
		}
		for _, r := range rules {
			w.Faults.Add(r)
		}
	}
	if f.trace != "" || f.strict != "" || len(f.faults) > 0 || control {
		cfg.Watch = w
	}
	return close, nil
}

// readFaults reads one fault, or a file of them.
func readFaults(s string) ([]*watch.Rule, error) {
	if !strings.Contains(s, ",") {
		in, err := os.Open(s)
		if err != nil {
			return nil, fmt.Errorf("--fault %s: neither DEVICE,CONDITION…,ACTION… nor a file: %w", s, err)
		}
		defer in.Close()
		l, err := watch.ReadRules(in)
		if err != nil {
			return nil, fmt.Errorf("--fault %s: %w", s, err)
		}
		return l, nil
	}
	r, err := watch.ParseRule(s)
	if err != nil {
		return nil, err
	}
	return []*watch.Rule{r}, nil
}

// closeFunc makes a function an io.Closer.
type closeFunc func() error

// Close implements io.Closer.
func (f closeFunc) Close() error { return f() }
