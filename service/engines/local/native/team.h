// The threads that work on a step together. Each runs the same code; `share` hands out an operation's parts and ends
// when all of them are done. A thread that waits spins for one or two tenths of a millisecond, longer than most
// operations take, then sleeps: beside a training run on the same cores, spinning would take the time from whoever is
// waited for. A team of more threads than there are cores sleeps at once, for the same reason.
//
// A job mustn't throw: the others would wait for its thread forever.
#pragma once
#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#define BREATHE() __builtin_ia32_pause()
#else
#define BREATHE() ((void)0)
#endif

class Team {
  public:
    const int size;

    explicit Team(int size) : size(size), spins_(size > cores() ? 0 : SPINS) {
        try {
            for (int number = 1; number < size; number++) threads_.emplace_back([this, number] { serve(number); });
        } catch (...) {  // the system gives no more threads
            end();
            throw;
        }
    }

    ~Team() { end(); }

    // Run `job(number)` on every thread; returns when all have.
    void run(const std::function<void(int)>& job) {
        job_ = &job;
        next_.store(0);
        started_.fetch_add(1);
        started_.notify_all();
        job(0);
        meet();
    }

    // Inside a job: `part(i)` for every i below `count`, `grain` at a time, whoever is free; then all meet.
    template <class Part> void share(int count, int grain, Part part) {
        for (int first; (first = next_.fetch_add(grain)) < count;)
            for (int i = first; i < count && i < first + grain; i++) part(i);
        meet();
    }

  private:
    static constexpr int SPINS = 4000;  // a processor's pause takes 40 to 140 cycles

    static int cores() {
        const unsigned known = std::thread::hardware_concurrency();
        return known ? (int)known : 1;
    }

    void end() {
        job_ = nullptr;
        started_.fetch_add(1);
        started_.notify_all();
        for (auto& thread : threads_) thread.join();
    }

    void meet() {
        const unsigned round = round_.load();
        if (arrived_.fetch_add(1) + 1 == size) {
            arrived_.store(0);
            next_.store(0);
            round_.fetch_add(1);
            round_.notify_all();
            return;
        }
        await(round_, round);
    }

    void await(std::atomic<unsigned>& value, unsigned old) const {
        for (int spin = 0; spin < spins_; spin++) {
            if (value.load(std::memory_order_acquire) != old) return;
            BREATHE();
        }
        while (value.load() == old) value.wait(old);
    }

    void serve(int number) {
        for (unsigned seen = 0;; seen++) {
            await(started_, seen);
            if (job_ == nullptr) return;
            (*job_)(number);
            meet();
        }
    }

    const int spins_;
    std::vector<std::thread> threads_;
    const std::function<void(int)>* job_ = nullptr;
    std::atomic<unsigned> started_{0}, round_{0};
    std::atomic<int> arrived_{0}, next_{0};
};
