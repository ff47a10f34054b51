package ata

// Subcommands of SET FEATURES (ACS-4, section 7.43).
const (
	featCacheOn      = 0x02
	featTransfer     = 0x03
	featAPMOn        = 0x05
	featSATAOn       = 0x10
	featLookAheadOff = 0x55
	featKeepDefaults = 0x66
	featCacheOff     = 0x82
	featAPMOff       = 0x85
	featSATAOff      = 0x90
	featLookAheadOn  = 0xaa
	featDefaults     = 0xcc
)

// featureName names a subcommand, or is empty.
func featureName(sub uint8) string {
	switch sub {
	case featCacheOn:
		return "enable volatile write cache"
	case featTransfer:
		return "set transfer mode"
	case featAPMOn:
		return "enable APM"
	case featSATAOn:
		return "enable SATA feature"
	case featLookAheadOff:
		return "disable read look-ahead"
	case featKeepDefaults:
		return "disable reverting to power-on defaults"
	case featCacheOff:
		return "disable volatile write cache"
	case featAPMOff:
		return "disable APM"
	case featSATAOff:
		return "disable SATA feature"
	case featLookAheadOn:
		return "enable read look-ahead"
	case featDefaults:
		return "enable reverting to power-on defaults"
	}
	return ""
}

// setFeatures executes SET FEATURES.
func (d *Disk) setFeatures(r *Request, sub, arg uint8) {
	if sub == featCacheOff && d.store.Flush() != nil {
		d.fault(r, false)
		return
	}
	d.mu.Lock()
	ok := d.feature(sub, arg)
	d.mu.Unlock()
	if !ok {
		r.Fail(ErrAborted)
		return
	}
	r.Finish()
}

func (d *Disk) feature(sub, arg uint8) bool {
	switch sub {
	case featCacheOn, featCacheOff:
		d.cache.Store(sub == featCacheOn)
	case featTransfer:
		return d.transferMode(arg)
	case featAPMOn:
		if arg == 0 || arg == 0xff {
			return false
		}
		d.s.APM = arg
	case featAPMOff:
		d.s.APM = 0
	case featLookAheadOn, featLookAheadOff:
		d.s.LookAhead = sub == featLookAheadOn
	case featKeepDefaults, featDefaults:
		// Reverting happens on a software reset, which this drive never lets
		// change settings; both are accepted.
	case featSATAOn, featSATAOff:
		return d.sataFeature(arg, sub == featSATAOn)
	default:
		return false
	}
	return true
}

// transferMode selects a transfer mode (ACS-4, table 180).
func (d *Disk) transferMode(arg uint8) bool {
	mode := int(arg & 7)
	switch arg >> 3 {
	case 0: // PIO default
		return mode <= 1
	case 1: // PIO flow control
		return mode <= 4
	case 4:
		if mode > 2 {
			return false
		}
		d.s.MWDMA, d.s.UDMA = mode, -1
	case 8:
		if mode > 6 {
			return false
		}
		d.s.UDMA, d.s.MWDMA = mode, -1
	default:
		return false
	}
	return true
}

// sataFeature switches a Serial ATA feature (ACS-4, table 188).
func (d *Disk) sataFeature(which uint8, on bool) bool {
	switch which {
	case 2:
		d.s.AutoAct = on
	case 3:
		d.s.DIPM = on
	case 6:
		d.s.Preserve = on
	default:
		return false
	}
	return true
}
