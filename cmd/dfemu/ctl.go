package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"dfemu/qmp"
)

// newCtl is the command that talks to a running machine.
func newCtl() *cobra.Command {
	var socket string
	c := &cobra.Command{
		Use:   "ctl --control SOCKET COMMAND [KEY=VALUE…]",
		Short: "control a running machine",
		Long: "Send one command to the control socket of a machine that was started with --control.\n" +
			"Short forms: plug, unplug, pull (surprise removal), eject, insert, link, fault, faults,\n" +
			"unfault, serial, pci, block, net, pause, resume, reset, powerdown, power-loss, quit, status.\n" +
			"Devices and drives are named as block, net and pci list them. plug takes what --device takes,\n" +
			"with spaces instead of commas; hostfwd= any number of times.\n" +
			"Any other command of the protocol is sent as it is; 'query-commands' lists them.",
		Example: "  dfemu ctl --control /tmp/m.sock status\n" +
			"  dfemu ctl --control /tmp/m.sock plug nvme file=disk.img serial=A1\n" +
			"  dfemu ctl --control /tmp/m.sock plug virtio-net netdev=user hostfwd=tcp::2222-:22 hostfwd=tcp::8080-:80\n" +
			"  dfemu ctl --control /tmp/m.sock fault 'nvme0,op=read,nth=10,fail=0x281'\n" +
			"  dfemu ctl --control /tmp/m.sock link virtio-net0 off",
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if socket == "" {
				return usageError{fmt.Errorf("ctl: --control SOCKET says which machine")}
			}
			name, m, err := ctlCommand(args)
			if err != nil {
				return usageError{err}
			}
			q, err := qmp.Dial(socket)
			if err != nil {
				return err
			}
			defer q.Close()
			answer, err := q.Execute(name, m)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return printAnswer(c, name, answer)
		},
	}
	c.Flags().StringVar(&socket, "control", "", "control socket of the machine")
	return c
}

// printAnswer shows an answer: text as it is, nothing for nothing, the rest as JSON.
func printAnswer(c *cobra.Command, name string, answer json.RawMessage) error {
	if name == "screendump" {
		var s struct{ Text string }
		if err := json.Unmarshal(answer, &s); err != nil {
			return err
		}
		_, err := fmt.Fprint(c.OutOrStdout(), s.Text)
		return err
	}
	if string(answer) == "{}" {
		return nil
	}
	var b bytes.Buffer
	if err := json.Indent(&b, answer, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), b.String())
	return err
}

// ctlCommand turns the command line into a command of the protocol.
func ctlCommand(args []string) (name string, m map[string]any, err error) {
	rest := args[1:]
	pairs := func() {
		for _, a := range rest {
			k, v, ok := strings.Cut(a, "=")
			if !ok {
				err = fmt.Errorf("ctl: %s: must be KEY=VALUE", a)
				return
			}
			if m == nil {
				m = map[string]any{}
			}
			switch n, e := strconv.ParseInt(v, 0, 64); {
			case v == "true" || v == "false":
				m[k] = v == "true"
			case e == nil:
				m[k] = n
			default:
				m[k] = v
			}
		}
	}
	need := func(n int, what string) bool {
		if len(rest) != n {
			err = fmt.Errorf("ctl: %s %s", args[0], what)
		}
		return err == nil
	}
	short := map[string]string{
		"pause": "stop", "resume": "cont", "reset": "system_reset", "powerdown": "system_powerdown", "status": "query-status",
		"pci": "query-pci", "block": "query-block", "net": "x-query-net", "faults": "x-fault-list", "power-loss": "x-power-loss", "serial": "screendump",
	}
	switch args[0] {
	case "plug":
		if len(rest) == 0 {
			return "", nil, fmt.Errorf("ctl: plug DRIVER KEY=VALUE…: the models and keys of --device; 'dfemu boot --device help' lists them")
		}
		m, err = plugSettings(rest[1:])
		if err == nil {
			m["driver"] = rest[0]
		}
		return "device_add", m, err
	case "unplug", "pull":
		if need(1, "DEVICE") {
			m = map[string]any{"id": rest[0], "x-surprise": args[0] == "pull"}
		}
		return "device_del", m, err
	case "eject":
		if need(1, "DEVICE") {
			m = map[string]any{"device": rest[0]}
		}
		return "eject", m, err
	case "insert":
		if need(2, "DEVICE FILE") {
			m = map[string]any{"device": rest[0], "filename": rest[1]}
		}
		return "blockdev-change-medium", m, err
	case "link":
		if need(2, "DEVICE on|off"); err == nil && rest[1] != "on" && rest[1] != "off" {
			err = fmt.Errorf("ctl: link %s %s: must be on or off", rest[0], rest[1])
		}
		if err == nil {
			m = map[string]any{"name": rest[0], "up": rest[1] == "on"}
		}
		return "set_link", m, err
	case "fault":
		if need(1, "DEVICE,CONDITION…,ACTION…") {
			m = map[string]any{"rule": rest[0]}
		}
		return "x-fault-add", m, err
	case "unfault":
		m = map[string]any{"rule": strings.Join(rest, "")}
		return "x-fault-remove", m, nil
	}
	name = args[0]
	if s := short[name]; s != "" {
		name = s
	}
	pairs()
	return name, m, err
}

// plugSettings turns the settings of a device into arguments of device_add. Nothing is guessed of their values: digits may be
// a serial number. A key alone is a switch that is on; one that is given more than once has a list.
func plugSettings(args []string) (map[string]any, error) {
	m := map[string]any{}
	for _, a := range args {
		k, v, given := strings.Cut(a, "=")
		if k == "" || k == "driver" {
			return nil, fmt.Errorf("ctl: %s: must be KEY=VALUE, with a key of --device", a)
		}
		var value any = v
		if !given {
			value = true
		}
		switch old := m[k].(type) {
		case nil:
			m[k] = value
		case []any:
			m[k] = append(old, value)
		default:
			m[k] = []any{old, value}
		}
	}
	return m, nil
}
