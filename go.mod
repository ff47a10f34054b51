module dfemu

go 1.26
