// filter.cpp — frax in a C++17 program: handles that free themselves, statuses that become exceptions.
//
//     c++ -std=c++17 filter.cpp -lfrax -o filter && ./filter filter.frax
//
// frax.h is C: whoever creates a handle destroys it, and every call returns a status. The two small classes
// below are all that C++ needs on top. The program blurs a picture by diffusion and sharpens it again with a
// fractional Laplacian.
#include <frax.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

struct Destroy {
    void operator()(FraxModel *model) const { frax_model_destroy(model); }
    void operator()(FraxExecutable *exe) const { frax_executable_destroy(exe); }
};

// call(frax_compile, model, &options, &handle) puts an error behind the arguments, and throws it if it is
// filled.
template <class Function, class... Arguments> void call(Function function, Arguments... arguments) {
    FraxError err;
    if (function(arguments..., &err) != FRAX_OK) throw std::runtime_error(err.message);
}

class Model {
  public:
    static Model load(const std::string &spec) {
        FraxModel *model = nullptr;
        call(frax_model_load, spec.c_str(), &model);
        return Model(model);
    }
    static Model parse(const char *text, const char *file) {
        FraxModel *model = nullptr;
        call(frax_model_parse, text, file, nullptr, &model);
        return Model(model);
    }
    const FraxModel *get() const { return handle.get(); }

  private:
    explicit Model(FraxModel *model) : handle(model) {}
    std::unique_ptr<FraxModel, Destroy> handle;
};

// A model without parameters, compiled for given sizes: vectors of floats in, vectors of floats out.
class Filter {
  public:
    Filter(const Model &model, const std::vector<FraxSize> &sizes) {
        FraxOptions options = frax_default_options();
        options.sizes = sizes.data();
        options.nsizes = sizes.size();
        FraxExecutable *exe = nullptr;
        call(frax_compile, model.get(), &options, &exe);
        handle.reset(exe);
    }

    // const: an executable does not change, so that any number of threads may share a filter.
    std::vector<std::vector<float>> operator()(const std::vector<float> &x) const {
        if (x.size() != elements(FRAX_INPUT, 0)) throw std::invalid_argument("the input has another size");
        std::vector<std::vector<float>> results(frax_executable_count(handle.get(), FRAX_OUTPUT));
        std::vector<void *> outputs;
        for (std::size_t i = 0; i < results.size(); i++) {
            results[i].resize(elements(FRAX_OUTPUT, i));
            outputs.push_back(results[i].data());
        }
        const void *const inputs[] = {x.data()};
        call(frax_run, handle.get(), inputs, nullptr, outputs.data());
        return results;
    }

  private:
    std::size_t elements(FraxRole role, std::size_t i) const {
        const FraxTensor type = frax_executable_type(handle.get(), role, i);
        if (type.dtype != FRAX_F32) throw std::invalid_argument("this program knows f32 only");
        std::size_t n = 1;
        for (int axis = 0; axis < type.rank; axis++) n *= static_cast<std::size_t>(type.dims[axis]);
        return n;
    }
    std::unique_ptr<FraxExecutable, Destroy> handle;
};

constexpr int height = 20, width = 64;

constexpr char blur[] = R"(
# Diffusion for a while: each frequency decays with its square.
model blur(image: f32[H, W]) {
    soft = spectral_filter(image, (u, v) => exp(-1.5 * (u^2 + v^2)), axes=(0, 1))
    return soft
}
)";

std::vector<float> rings() {
    std::vector<float> image(height * width);
    for (int row = 0; row < height; row++)
        for (int column = 0; column < width; column++) {
            // A character is twice as high as wide.
            const double y = 2.0 * (row - height / 2), x = column - width / 2;
            image[row * width + column] = std::fmod(std::hypot(x, y), 14) < 7 ? 1.0f : 0.0f;
        }
    return image;
}

void show(const char *title, const std::vector<float> &image) {
    static constexpr char shades[] = " .:-=+*#%@";
    std::printf("%s\n", title);
    for (int row = 0; row < height; row++) {
        for (int column = 0; column < width; column++)
            std::putchar(shades[std::clamp(static_cast<int>(10 * image[row * width + column]), 0, 9)]);
        std::putchar('\n');
    }
}

// The standard deviation of the brightness.
double contrast(const std::vector<float> &image) {
    double sum = 0, squares = 0;
    for (const float v : image) sum += v, squares += static_cast<double>(v) * v;
    const double n = static_cast<double>(image.size());
    return std::sqrt(squares / n - sum / n * sum / n);
}

} // namespace

int main(int argc, char **argv) {
    try {
        const std::vector<FraxSize> sizes = {{"H", height}, {"W", width}};
        const std::string file = argc > 1 ? argv[1] : "frontend/examples/filter.frax";
        const Filter soften(Model::parse(blur, "blur.frax"), sizes),
            sharpen(Model::load(file + ":sharpen"), sizes);

        const std::vector<float> soft = soften(rings()).front(), sharp = sharpen(soft).front();
        show("blurred", soft);
        show("sharpened by a Laplacian of order 0.7", sharp);
        std::printf("contrast: %.3f blurred, %.3f sharpened\n", contrast(soft), contrast(sharp));

        try { // a fault comes with its place in the model
            Model::parse("model wrong(x: f32[N]) {\n    y = frac(x, 0.5, kind=weil)\n    return y\n}\n",
                         "wrong.frax");
        } catch (const std::runtime_error &error) {
            std::printf("%s\n", error.what());
        }
        return contrast(sharp) > 1.1 * contrast(soft) ? 0 : 1;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
