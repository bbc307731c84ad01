/* SPDX-License-Identifier: Apache-2.0 */
package tinyvmm;

import io.kvmirq.KernelException;
import io.kvmirq.NotModelledException;
import io.kvmirq.backend.BackendUnavailableException;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.Vm;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;

/**
 * A VMM that boots Linux: memory, vCPUs, interrupt controllers, two serial ports, and a port that turns it off. Read
 * {@link #run} first. Without a kernel it runs a {@link SmallGuest}.
 */
public final class TinyVmm {
    private static final String DEFAULTS =
            "--kernel= --initramfs= --append= --memory=256 --vcpus=2 --interrupts=1000 --backend=auto"
                    + " --device= --boots=1 --pause=0 --irqchip=full --paths=no --net=";

    public static void main(String[] arguments) throws InterruptedException {
        System.exit(run(System.in, System.out, arguments));
    }

    /** @return 0 if all interrupts were answered, 1 if not, 2 if the guest cannot be begun */
    public static int run(InputStream in, PrintStream out, String... arguments) throws InterruptedException {
        try {
            Map<String, String> options = options(arguments);
            boolean isAnswered = true;
            for (int boot = 1; isAnswered && boot <= number(options, "--boots", 1, 100); boot++) {
                isAnswered = run(options, boot, in, out);
            }
            return isAnswered ? 0 : 1;
        } catch (IllegalArgumentException | KernelException | BackendUnavailableException | NotModelledException e) {
            out.println("tiny-vmm: " + e.getMessage());
        } catch (IOException e) {
            out.println("tiny-vmm: cannot read " + e);
        }
        return 2;
    }

    private static boolean run(Map<String, String> options, int boot, InputStream in, PrintStream out)
            throws InterruptedException, IOException {
        int vcpus = number(options, "--vcpus", 1, 16);
        int interrupts = number(options, "--interrupts", 0, 100_000_000);
        long bytes = (long) number(options, "--memory", 2, 3072) << 20;
        int pause = number(options, "--pause", 0, 60_000);
        String addresses = options.get("--device");
        List<String> passed = addresses.isEmpty() ? List.of() : List.of(addresses.split(","));
        Platform.require(passed.size() <= PassedDevices.MOST, "%s: at most %d devices", passed, PassedDevices.MOST);
        String irqchip = options.get("--irqchip");
        Platform.require(irqchip.matches("full|split"), "--irqchip %s: expected full or split", irqchip);
        Platform.require(options.get("--paths").matches("no|yes"), "--paths: expected no or yes");
        String image = options.get("--kernel");
        boolean isLinux = !image.isEmpty();
        CompletableFuture<String> end = new CompletableFuture<>();
        try (Kernel kernel = Kernel.open(options.get("--backend"));
                Vm vm = Vm.create(kernel);
                Platform platform = vm.isArm64()
                        ? new ArmPlatform(vm, vcpus, irqchip)
                        : new X86Platform(vm, vcpus, irqchip.equals("split"), isLinux, end::complete);
                GuestMemory memory = vm.addMemory(platform.memory, bytes)) {
            Serial console = new Serial(platform.consoleInterrupt(), out::write, true);
            String net = options.get("--net");
            try (PassedDevices devices = new PassedDevices(platform, memory, passed, out, end::complete);
                    VhostNet card = net.isEmpty() ? null : new VhostNet(platform, memory, net, out::println);
                    EchoDevice device = new EchoDevice(vm, platform)) {
                // The contents of memory, and the registers of the first vCPU
                if (isLinux) {
                    String initramfs = options.get("--initramfs");
                    byte[] files = initramfs.isEmpty() ? new byte[0] : Files.readAllBytes(Path.of(initramfs));
                    String line = String.format("console=ttyS0 panic=-1 boot=%d ", boot) + options.get("--append");
                    platform.loadLinux(
                            memory.mapping(), Path.of(image), files, line, !passed.isEmpty() || card != null);
                } else {
                    platform.loadSmallGuest(memory.mapping());
                }
                // All runs: a thread for each vCPU, one for the device, and this one
                Machine machine = new Machine(platform, console, device.serial, end);
                Thread sender = new Thread(() -> {
                    device.send(interrupts);
                    boolean isAnswered = device.isAnswered(interrupts);
                    if (!isLinux || !isAnswered) {
                        machine.end(isAnswered ? "the guest has answered" : "the guest does not answer");
                    }
                });
                sender.start();
                Thread pauser = new Thread(() -> pause(machine, devices, pause));
                pauser.start();
                String why = machine.run(in, options.get("--paths").equals("no") ? () -> {} : () -> devices.print(out));
                pauser.interrupt();
                pauser.join();
                sender.join(1000); // it may have the last answer still to read
                sender.interrupt();
                out.println("tiny-vmm: " + why + "; " + device);
                return device.isAnswered(interrupts);
            }
        }
    }

    /** Again and again, for a moment each, no vCPU runs, and no interrupt of a passed-through device arrives. */
    private static void pause(Machine machine, PassedDevices devices, int millis) {
        try {
            while (millis > 0) {
                Thread.sleep(millis);
                machine.pause();
                devices.hold();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (IllegalStateException e) {
            // the guest has ended meanwhile
        }
    }

    private static Map<String, String> options(String... arguments) {
        Map<String, String> options = new TreeMap<>();
        Stream<String[]> defaults = Stream.of(DEFAULTS.split(" ")).map(option -> option.split("=", 2));
        defaults.forEach(option -> options.put(option[0], option[1]));
        for (int i = 0; i < arguments.length; i += 2) {
            boolean isOption = options.containsKey(arguments[i]) && i + 1 < arguments.length;
            Platform.require(isOption, "'%s' is no option with a value: expected %s", arguments[i], options.keySet());
            options.put(arguments[i], arguments[i + 1]);
        }
        return options;
    }

    private static int number(Map<String, String> options, String name, int min, int max) {
        String text = options.get(name);
        int value = text.matches("\\d{1,9}") ? Integer.parseInt(text) : -1;
        Platform.require(value >= min && value <= max, "%s %s: expected %d to %d", name, text, min, max);
        return value;
    }
}
