/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.VcpuId;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import java.util.HexFormat;
import java.util.concurrent.SynchronousQueue;

/** A guest reads a port, writes what it read to another one, and halts. Then its VMM ends it. */
class EchoingGuest {
    private static final int START = 0x1000;

    public static void main(String[] args) throws InterruptedException {
        SynchronousQueue<String> said = new SynchronousQueue<>();
        FakeKernel fake = new FakeKernel(Profile.parse("6.18"));
        try (Kernel kernel = fake.open(); // on this machine: Kernel.open()
                Vm vm = Vm.create(kernel);
                GuestMemory memory = vm.addMemory(0, 0x10000)) {
            vm.x86().createIrqchip();
            // in $0xe0, %al; out %al, $0xe1; hlt; jmp to hlt
            memory.mapping().put(START, HexFormat.of().parseHex("e4e0e6e1f4ebfd"));
            try (Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
                vcpu.x86().startAt(START, 0x8000);
                Thread runner = new Thread(() -> run(vcpu, said), "vcpu 0");
                runner.start();
                System.out.println(said.take());
                vcpu.kick(); // close() would do it, too
                System.out.println(said.take());
                runner.join();
            }
        }
    }

    private static void run(Vcpu vcpu, SynchronousQueue<String> said) {
        vcpu.moveHere(); // the main thread made it
        VcpuExit exit = vcpu.run();
        while (exit.reason() == VcpuExit.Reason.IO) {
            if (exit.isWrite()) {
                tell(said, "port 0x" + Integer.toHexString(exit.port()) + " = " + (char) exit.data());
            } else {
                exit.answer('k');
            }
            exit = vcpu.run();
        }
        tell(said, "ended by " + exit);
    }

    private static void tell(SynchronousQueue<String> said, String text) {
        try {
            said.put(text);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
