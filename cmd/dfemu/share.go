package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"dfemu/machine"
)

// extraFlags are the flags for devices that connect the guest with the host.
type extraFlags struct {
	shares  []string
	vsock   string
	balloon bool
}

func (f *extraFlags) register(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.shares, "share", nil, "share the folder `DIR[,tag=NAME][,ro]` with the guest (mount -t 9p)")
	fl.StringVar(&f.vsock, "vsock", "", "connect programs of guest and host: `cid=N,path=SOCKET`")
	fl.BoolVar(&f.balloon, "balloon", false, "add a memory balloon, for dfemu ctl balloon")
}

// configure turns the flags into devices.
func (f *extraFlags) configure(cfg *machine.Config) error {
	for _, s := range f.shares {
		o, err := machine.ParseShare(s)
		if err != nil {
			return usageError{fmt.Errorf("--share %s: %w", s, err)}
		}
		cfg.Shares = append(cfg.Shares, o)
	}
	if f.vsock != "" {
		v, err := machine.ParseVsock(f.vsock)
		if err != nil {
			return usageError{fmt.Errorf("--vsock %s: %w", f.vsock, err)}
		}
		cfg.Vsock = &v
	}
	cfg.Balloon = cfg.Balloon || f.balloon
	return nil
}
