/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.arch.apic.PiDescriptor;
import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.vtd.Irte;
import io.kvmirq.arch.vtd.PostedIrte;

/** Posts an interrupt through a VT-d remapping entry to a vCPU's descriptor; then the vCPU takes it. */
class PostedRequest {
    public static void main(String[] args) {
        PostedIrte entry = (PostedIrte) Irte.decode(0x23456fc000418001L, 0x0000000100043b00L);
        System.out.println(entry.vector() + " of " + entry.source() + " goes to the descriptor at 0x"
                + Long.toHexString(entry.descriptorAddress()) + ", " + entry.violations().size() + " violations");
        PiDescriptor descriptor = PiDescriptor.over(new long[PiDescriptor.WORDS]); // or a direct buffer
        SharedWords irr = SharedWords.of(new long[PiDescriptor.PIR_WORDS]);
        descriptor.reset();
        descriptor.load(5); // the vCPU runs on the processor with APIC id 5
        boolean notify = descriptor.post(entry.vector().number(), entry.is(PostedIrte.URGENT)) != 0;
        System.out.println(notify ? "notify " + descriptor.ndst() : "no notification");
        System.out.println(descriptor.sync(irr, 0) ? "taken" : "no request");
    }
}
