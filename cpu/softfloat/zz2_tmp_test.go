package softfloat
import ("math";"testing";"dfemu/cpu/softfloat/internal/hw";"fmt")
func TestZY(t *testing.T){
 e:=FromControl(0x37f)
 for _,x:=range []string{"-0.3","0.3","0.5","-0.5","0.9","-0.99","1","-1","-1.5","2","5","-5","1e10","-1e10","1e300"} {
  var f float64; fmt.Sscan(x,&f)
  a:=e.F64ToF80(mathbits(f))
  for _,n:=range []string{"f2xm1","fyl2xp1"} {
   regs:=[3]hw.Register{{Mant:a.Mant,SE:a.SE},{Mant:1<<63,SE:0x3fff}}
   var m [16]byte
   st:=hw.X87(n)(0x37f,&regs,&m)
   ee:=FromControl(0x37f); var r F80
   if n=="f2xm1" {r=ee.Exp2m1(a)} else {r=ee.YLog2XP1(I64ToF80(1),a)}
   t.Logf("%s %s: %x %x  soft %x %x",n,x,F80{regs[0].Mant,regs[0].SE},st,r,ee.Flags)
  }
 }
}
func mathbits(f float64) uint64 {return math.Float64bits(f)}
