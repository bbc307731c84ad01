import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.Profile;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Registration;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;

/** A handler throws, and the loop goes on and calls it again. */
class FailedHandler {
    private static final Deque<String> BUFFERS = new ArrayDeque<>();

    public static void main(String[] args) {
        FakeKernel fake = new FakeKernel(Profile.of("6.18"));
        try (Kernel kernel = fake.open(); // on this machine: Kernel.open()
                EventLoop loop = EventLoop.create(kernel);
                EventFd doorbell = EventFd.create(kernel)) {
            loop.onFailure(FailedHandler::failed);
            loop.registerDoorbell(doorbell, () -> System.out.println("received into " + BUFFERS.remove()));
            doorbell.signal();
            for (int called : List.of(loop.poll(Duration.ZERO), loop.poll(Duration.ZERO), loop.poll(Duration.ZERO))) {
                System.out.println(called + " called");
            }
        }
    }

    /** Without this call the ring would be gone: only a new one calls the handler. */
    private static void failed(Registration registration, RuntimeException failure) {
        System.out.println("failed: " + failure);
        BUFFERS.add("buffer 1");
        registration.pause();
        registration.resume(); // a doorbell's handler is called at resume
    }
}
