package nvme

import "dfemu/devices"

// A dwField names bits lo to hi of a command double word, or, when wide, a pair of
// double words.
type dwField struct {
	name   string
	dw     uint8
	lo, hi uint8
	wide   bool
}

var rwFields = []dwField{
	{name: "SLBA", dw: 10, wide: true}, {name: "NLB", dw: 12, hi: 15}, {name: "DTYPE", dw: 12, lo: 20, hi: 23},
	{name: "STC", dw: 12, lo: 24, hi: 24}, {name: "PRINFO", dw: 12, lo: 26, hi: 29}, {name: "FUA", dw: 12, lo: 30, hi: 30}, {name: "LR", dw: 12, lo: 31, hi: 31},
}

var resvFields = []dwField{
	{name: "ACTION", dw: 10, hi: 2}, {name: "IEKEY", dw: 10, lo: 3, hi: 3}, {name: "RTYPE", dw: 10, lo: 8, hi: 15}, {name: "CPTPL", dw: 10, lo: 30, hi: 31},
}

var adminFields = map[uint8][]dwField{
	opDeleteSQ: {{name: "QID", dw: 10, hi: 15}},
	opDeleteCQ: {{name: "QID", dw: 10, hi: 15}},
	opCreateSQ: {{name: "QID", dw: 10, hi: 15}, {name: "QSIZE", dw: 10, lo: 16, hi: 31}, {name: "PC", dw: 11}, {name: "QPRIO", dw: 11, lo: 1, hi: 2},
		{name: "CQID", dw: 11, lo: 16, hi: 31}, {name: "NVMSETID", dw: 12, hi: 15}},
	opCreateCQ: {{name: "QID", dw: 10, hi: 15}, {name: "QSIZE", dw: 10, lo: 16, hi: 31}, {name: "PC", dw: 11}, {name: "IEN", dw: 11, lo: 1, hi: 1},
		{name: "IV", dw: 11, lo: 16, hi: 31}},
	opGetLogPage: {{name: "LID", dw: 10, hi: 7}, {name: "LSP", dw: 10, lo: 8, hi: 14}, {name: "RAE", dw: 10, lo: 15, hi: 15},
		{name: "NUMDL", dw: 10, lo: 16, hi: 31}, {name: "NUMDU", dw: 11, hi: 15}, {name: "LSI", dw: 11, lo: 16, hi: 31},
		{name: "LPO", dw: 12, wide: true}, {name: "UUID", dw: 14, hi: 6}, {name: "OT", dw: 14, lo: 23, hi: 23}, {name: "CSI", dw: 14, lo: 24, hi: 31}},
	opIdentify:         {{name: "CNS", dw: 10, hi: 7}, {name: "CNTID", dw: 10, lo: 16, hi: 31}, {name: "CNSSID", dw: 11, hi: 15}, {name: "CSI", dw: 11, lo: 24, hi: 31}},
	opAbort:            {{name: "SQID", dw: 10, hi: 15}, {name: "CID", dw: 10, lo: 16, hi: 31}},
	opSetFeatures:      {{name: "FID", dw: 10, hi: 7}, {name: "SV", dw: 10, lo: 31, hi: 31}, {name: "CDW11", dw: 11, hi: 31}},
	opGetFeatures:      {{name: "FID", dw: 10, hi: 7}, {name: "SEL", dw: 10, lo: 8, hi: 10}, {name: "CDW11", dw: 11, hi: 31}},
	opNamespaceManage:  {{name: "SEL", dw: 10, hi: 3}, {name: "CSI", dw: 11, lo: 24, hi: 31}},
	opNamespaceAttach:  {{name: "SEL", dw: 10, hi: 3}},
	opFirmwareCommit:   {{name: "FS", dw: 10, hi: 2}, {name: "CA", dw: 10, lo: 3, hi: 5}, {name: "BPID", dw: 10, lo: 31, hi: 31}},
	opFirmwareDownload: {{name: "NUMD", dw: 10, hi: 31}, {name: "OFST", dw: 11, hi: 31}},
	opSelfTest:         {{name: "STC", dw: 10, hi: 3}},
	opFormat:           {{name: "LBAF", dw: 10, hi: 3}, {name: "MSET", dw: 10, lo: 4, hi: 4}, {name: "PI", dw: 10, lo: 5, hi: 7}, {name: "SES", dw: 10, lo: 9, hi: 11}},
	opSanitize:         {{name: "SANACT", dw: 10, hi: 2}, {name: "AUSE", dw: 10, lo: 3, hi: 3}, {name: "OVRPAT", dw: 11, hi: 31}},
}

var ioFields = map[uint8][]dwField{
	opRead: rwFields, opWrite: rwFields, opCompare: rwFields, opVerify: rwFields, opWriteUncorrectable: rwFields, opZoneAppend: rwFields,
	opWriteZeroes:       append([]dwField{{name: "DEAC", dw: 12, lo: 25, hi: 25}}, rwFields...),
	opDatasetManagement: {{name: "NR", dw: 10, hi: 7}, {name: "IDR", dw: 11}, {name: "IDW", dw: 11, lo: 1, hi: 1}, {name: "AD", dw: 11, lo: 2, hi: 2}},
	opCopy:              {{name: "SDLBA", dw: 10, wide: true}, {name: "NR", dw: 12, hi: 7}, {name: "DESFMT", dw: 12, lo: 8, hi: 11}, {name: "FUA", dw: 12, lo: 30, hi: 30}},
	opResvRegister:      resvFields, opResvAcquire: resvFields, opResvRelease: resvFields,
	opResvReport:  {{name: "NUMD", dw: 10, hi: 31}, {name: "EDS", dw: 11}},
	opZoneSend:    {{name: "SLBA", dw: 10, wide: true}, {name: "ZSA", dw: 13, hi: 7}, {name: "SELECT_ALL", dw: 13, lo: 8, hi: 8}},
	opZoneReceive: {{name: "SLBA", dw: 10, wide: true}, {name: "NUMD", dw: 12, hi: 31}, {name: "ZRA", dw: 13, hi: 7}, {name: "ZRAS", dw: 13, lo: 8, hi: 15}, {name: "PARTIAL", dw: 13, lo: 16, hi: 16}},
}

// decode names the fields of a command.
func decode(isAdmin bool, e *entry) []devices.FieldValue {
	table := ioFields
	if isAdmin {
		table = adminFields
	}
	l := []devices.FieldValue{{Name: "FUSE", Value: uint64(e.fuse)}, {Name: "PSDT", Value: uint64(e.psdt)}}
	if e.psdt == 0 {
		l = append(l, devices.FieldValue{Name: "PRP1", Value: e.prp1}, devices.FieldValue{Name: "PRP2", Value: e.prp2})
	} else {
		l = append(l, devices.FieldValue{Name: "SGL1.ADDR", Value: e.prp1}, devices.FieldValue{Name: "SGL1.LEN", Value: uint64(uint32(e.prp2))},
			devices.FieldValue{Name: "SGL1.TYPE", Value: e.prp2 >> 56})
	}
	known, ok := table[e.op]
	if !ok {
		for i := 10; i < 16; i++ {
			l = append(l, devices.FieldValue{Name: [...]string{"CDW10", "CDW11", "CDW12", "CDW13", "CDW14", "CDW15"}[i-10], Value: uint64(e.dw[i])})
		}
		return l
	}
	for _, f := range known {
		v := uint64(e.dw[f.dw])
		if f.wide {
			v |= uint64(e.dw[f.dw+1]) << 32
		} else {
			v = v >> f.lo & (1<<(f.hi-f.lo+1) - 1)
		}
		l = append(l, devices.FieldValue{Name: f.name, Value: v})
	}
	return l
}
