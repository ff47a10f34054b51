package net

// featureNames names the feature bits of section 5.1.3.
var featureNames = map[uint64]string{
	featureCsum: "CSUM", featureGuestCsum: "GUEST_CSUM", featureCtrlGuestOffload: "CTRL_GUEST_OFFLOADS", featureMTU: "MTU", featureMAC: "MAC",
	featureGuestTSO4: "GUEST_TSO4", featureGuestTSO6: "GUEST_TSO6", featureGuestECN: "GUEST_ECN",
	featureHostTSO4: "HOST_TSO4", featureHostTSO6: "HOST_TSO6", featureHostECN: "HOST_ECN",
	featureMrgRxbuf: "MRG_RXBUF", featureStatus: "STATUS", featureCtrlVQ: "CTRL_VQ", featureCtrlRx: "CTRL_RX", featureCtrlVLAN: "CTRL_VLAN",
	featureCtrlRxExtra: "CTRL_RX_EXTRA", featureGuestAnnounce: "GUEST_ANNOUNCE", featureMQ: "MQ", featureCtrlMACAddr: "CTRL_MAC_ADDR",
	featureGuestUSO4: "GUEST_USO4", featureGuestUSO6: "GUEST_USO6", featureHostUSO: "HOST_USO", featureSpeedDuplex: "SPEED_DUPLEX",
}

// requires are the features that need others (section 5.1.3.1).
var requires = map[uint64]uint64{
	featureGuestTSO4: featureGuestCsum, featureGuestTSO6: featureGuestCsum, featureGuestECN: featureGuestTSO4 | featureGuestTSO6,
	featureGuestUSO4: featureGuestCsum, featureGuestUSO6: featureGuestCsum,
	featureHostTSO4: featureCsum, featureHostTSO6: featureCsum, featureHostECN: featureHostTSO4 | featureHostTSO6, featureHostUSO: featureCsum,
	featureCtrlRx: featureCtrlVQ, featureCtrlVLAN: featureCtrlVQ, featureGuestAnnounce: featureCtrlVQ, featureMQ: featureCtrlVQ,
	featureCtrlMACAddr: featureCtrlVQ,
}
