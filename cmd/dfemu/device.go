package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"dfemu/machine"
)

// deviceFlags are the flags that add any device by its model, and captures of networks.
type deviceFlags struct {
	devices, captures []string
}

func (f *deviceFlags) register(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.devices, "device", nil, "attach `MODEL[,KEY=VALUE…]`; --device help lists models, --device MODEL,help its keys")
	fl.StringArrayVar(&f.captures, "pcap", nil, "capture the frames of the (first, second …) network device to this file")
}

// help answers --device help and --device MODEL,help. It reports whether that was asked for.
func (f *deviceFlags) help(w io.Writer) (bool, error) {
	for _, s := range f.devices {
		switch model, asked, more := strings.Cut(s, ","); {
		case s == "help":
			return true, listModels(w)
		case more && asked == "help":
			m, err := machine.FindModel(model)
			if err != nil {
				return true, usageError{fmt.Errorf("--device: %w", err)}
			}
			return true, listKeys(w, m)
		}
	}
	return false, nil
}

func listModels(w io.Writer) error {
	for _, m := range machine.Models() {
		hot := ""
		if m.HotPlug() {
			hot = " (also with dfemu ctl plug)"
		}
		if _, err := fmt.Fprintf(w, "%-15s %s%s\n", m.Name, m.About, hot); err != nil {
			return err
		}
	}
	return nil
}

func listKeys(w io.Writer, m *machine.Model) error {
	if _, err := fmt.Fprintf(w, "%s: %s\n", m.Name, m.About); err != nil {
		return err
	}
	for _, k := range m.Keys {
		key := k.Name
		if k.Value != "" {
			key += "=" + k.Value
		}
		if _, err := fmt.Fprintf(w, "  %-30s %s\n", key, k.About); err != nil {
			return err
		}
	}
	return nil
}

// configure turns the flags into devices. It comes after all other network devices have been configured.
func (f *deviceFlags) configure(cfg *machine.Config) error {
	for _, s := range f.devices {
		if err := cfg.AddDevice(s); err != nil {
			return usageError{fmt.Errorf("--device %s: %w", s, err)}
		}
	}
	for i, name := range f.captures {
		if i >= len(cfg.NICs) {
			return usageError{fmt.Errorf("--pcap %s: there are %d network devices; add one with --nic", name, len(cfg.NICs))}
		}
		if p := &cfg.NICs[i].Pcap; *p != "" {
			return usageError{fmt.Errorf("--pcap %s: the frames are captured to %s already", name, *p)}
		}
		cfg.NICs[i].Pcap = name
	}
	return nil
}
