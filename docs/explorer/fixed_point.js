// The fixed point of random-feature score models, as pure functions without any library.
//
// Numbers in parentheses are equations of docs/theory.md. With zeta = z - s2 the unknowns are
// q = Tr (U - z)^-1 / p and delta; complex numbers are pairs [real, imaginary].
//
//   const model = fixedPoint.model({psiP: 64, psiN: 8, t: 0.01, activation: "tanh"});
//   fixedPoint.bulks(model);           // [{lower, upper, mass, part}, ...], ascending
//   fixedPoint.density(model, 0.2);    // mass per unit of lambda
var fixedPoint = (() => {
  "use strict";

  // ----------------------------------------------------------------------------------------------
  // the constants (5) of sigma at t: sums of positive terms over Hermite coefficients

  // squares of the Hermite coefficients h_k of sigma(gamma z), by degree k
  const SQUARES = {
    tanh: (gamma) => hermite((x) => Math.tanh(x), gamma, 400).map((h) => h * h),
    erf: (gamma) => {
      const y = (2 * gamma ** 2) / (1 + 2 * gamma ** 2);
      let term = (2 / Math.PI) * y;
      return odd(4000, (j) => {
        const now = term;
        term *= (y * y * (2 * j + 1) ** 2) / ((2 * j + 2) * (2 * j + 3));
        return now;
      });
    },
    sin: (gamma) => {
      let term = gamma ** 2 * Math.exp(-(gamma ** 2));
      return odd(200, (j) => {
        const now = term;
        term *= gamma ** 4 / ((2 * j + 2) * (2 * j + 3));
        return now;
      });
    },
  };

  function odd(terms, term) {
    return Array.from({length: terms}, (_, k) => (k % 2 ? term((k - 1) / 2) : 0));
  }

  // h_k = E[f(gamma z) He_k(z)] / sqrt(k!), by the trapezoidal rule
  function hermite(f, gamma, degrees) {
    const h = new Array(degrees).fill(0), step = 1 / 16;
    for (let z = -13; z <= 13; z += step) {
      const weight = Math.exp((-z * z) / 4) / (2 * Math.PI) ** 0.25;
      const value = step * weight * f(gamma * z);
      let before = 0, now = weight;
      for (let k = 0; k < degrees; k++) {
        h[k] += value * now;
        [before, now] = [now, (z * now - Math.sqrt(k) * before) / Math.sqrt(k + 1)];
      }
    }
    return h;
  }

  // `data` and `noise` are the variances alpha^2 Tr(Sigma)/d and beta^2 of a pre-activation
  function constants(activation, data, noise) {
    const gamma2 = data + noise;
    if (activation === "relu") return constantsOfRelu(gamma2, data, noise);
    const logC = -Math.log1p(noise / data); // c^k is the share of x in degree k
    const squares = SQUARES[activation](Math.sqrt(gamma2));
    let v2 = 0, s2 = 0;
    for (let k = squares.length - 1; k >= 2; k--) {
      v2 += squares[k] * Math.exp(k * logC);
      s2 -= squares[k] * Math.expm1(k * logC);
    }
    return {mu1: Math.sqrt(squares[1] / gamma2), v2, s2};
  }

  // sums over all degrees, whose terms fall too slowly
  function constantsOfRelu(gamma2, data, noise) {
    const theta = 2 * Math.asin(Math.sqrt(noise / gamma2 / 2)); // cos(theta) = c
    const c = data / gamma2, unit = gamma2 / (2 * Math.PI);
    const s2 = (Math.PI / 2) * (noise / gamma2) - Math.sin(theta) + theta * c;
    let v2 = Math.sin(theta) + c * Math.asin(c) - 1;
    if (c < 0.5) {
      // the difference cancels; its series in c does not
      let term = c * c / 2;
      v2 = 0;
      for (let j = 1; term > 1e-18 * v2; j++) {
        v2 += term;
        term *= (c * c * (2 * j - 1) ** 2) / ((2 * j + 1) * (2 * j + 2));
      }
    }
    return {mu1: 0.5, v2: unit * v2, s2: unit * s2};
  }

  // Ornstein-Uhlenbeck process; `values` and `weights` are the eigenvalues of Sigma
  function model({psiP, psiN, t, activation = "tanh", values = [1], weights = [1]}) {
    const alpha2 = Math.exp(-2 * t), beta2 = -Math.expm1(-2 * t);
    const trace = values.reduce((sum, value, k) => sum + value * weights[k], 0);
    const {mu1, v2, s2} = constants(activation, alpha2 * trace, beta2);
    return {psiP, psiN, values, weights, beta2, mu1, v2, s2, kappa2: alpha2 * mu1 ** 2,
      b2: beta2 * mu1 ** 2};
  }

  // ----------------------------------------------------------------------------------------------
  // the equations (6) and (7), F(q, delta; zeta) = 0, by Newton's method

  const add = (u, v) => [u[0] + v[0], u[1] + v[1]];
  const sub = (u, v) => [u[0] - v[0], u[1] - v[1]];
  const mul = (u, v) => [u[0] * v[0] - u[1] * v[1], u[0] * v[1] + u[1] * v[0]];
  const times = (x, u) => [x * u[0], x * u[1]];
  const div = (u, v) => {
    const n = v[0] * v[0] + v[1] * v[1];
    return [(u[0] * v[0] + u[1] * v[1]) / n, (u[1] * v[0] - u[0] * v[1]) / n];
  };
  const size = (u) => Math.sqrt(u[0] * u[0] + u[1] * u[1]);
  const ONE = [1, 0];

  // one Newton step, and how large it is relative to what it changes
  function newton(m, zeta, [q, delta]) {
    const D = div(ONE, add(ONE, delta)), ratio = m.psiP / m.psiN;
    const Tdelta = (value) => times(-m.kappa2 * value, mul(D, D));
    let A = [0, 0], Aq = [0, 0], Ad = [0, 0], B = [0, 0], Bq = [0, 0], Bd = [0, 0];
    m.values.forEach((value, k) => {
      const w = m.weights[k], T = add([m.b2, 0], times(m.kappa2 * value, D));
      const inverse = div(ONE, add(ONE, times(m.psiP, mul(T, q)))), square = mul(inverse, inverse);
      A = add(A, times(w, mul(T, inverse)));
      Aq = add(Aq, times(-m.psiP * w, mul(mul(T, T), square)));
      Ad = add(Ad, times(w, mul(Tdelta(value), square)));
      B = add(B, times(w * value, inverse));
      Bq = add(Bq, times(-m.psiP * w * value, mul(T, square)));
      Bd = add(Bd, times(-m.psiP * w * value, mul(mul(q, Tdelta(value)), square)));
    });
    const bracket = sub(add(times(m.v2, D), A), zeta);
    const column = add([m.v2, 0], times(m.kappa2, B));
    const one = sub(mul(q, bracket), ONE); // (6) times q
    const two = sub(times(ratio, mul(q, column)), delta); // (7)
    const J11 = add(bracket, mul(q, Aq));
    const J12 = mul(q, sub(Ad, times(m.v2, mul(D, D))));
    const J21 = times(ratio, add(column, times(m.kappa2, mul(q, Bq))));
    const J22 = sub(times(ratio * m.kappa2, mul(q, Bd)), ONE);
    const det = sub(mul(J11, J22), mul(J12, J21));
    const dq = div(sub(mul(one, J22), mul(two, J12)), det);
    const dd = div(sub(mul(two, J11), mul(one, J21)), det);
    const next = [sub(q, dq), sub(delta, dd)];
    return {next, step: size(dq) / size(q) + size(dd) / (size(delta) + size(add(ONE, delta)))};
  }

  function converged(m, zeta, start, most = 80) {
    let u = start, before = Infinity;
    for (let i = 0; i < most; i++) {
      const {next, step} = newton(m, zeta, u);
      if (!(step < 1e300)) return null;
      u = next;
      // below this a step that no longer shrinks is rounding
      if (step < 1e-15 || (step < 1e-10 && step >= before)) return u;
      before = step;
    }
    return before < 1e-6 ? u : null;
  }

  // the solution on the real axis, from above: inside a bulk all imaginary parts are positive
  function solve(m, x, near = null) {
    const physical = (u) => u && u[0][1] > 1e-7 * size(u[0]) && u[1][1] > 0;
    const zeta = [x, 0], guess = near && converged(m, zeta, near, 12);
    if (physical(guess)) return guess;
    let height = 100 * bound(m);
    let u = [div([-1, 0], [x, height]), [0, 0]];
    for (; height > 1e-9 * x; height /= 2.4) {
      for (let i = 0; i < 2; i++) u = newton(m, [x, height], u).next;
    }
    return converged(m, zeta, u) || u;
  }

  // all eigenvalues lie below: norms of the two products that make up U
  function bound(m) {
    const features = (1 + Math.sqrt(m.psiP)) ** 2;
    const column = m.kappa2 * Math.max(...m.values) * features + m.v2;
    return column * (1 + Math.sqrt(m.psiP / m.psiN)) ** 2 + m.b2 * features;
  }

  function density(m, lambda, near = null) {
    return Math.max(0, solve(m, lambda - m.s2, near)[0][1]) / Math.PI;
  }

  // the number of eigenvalues above, per dimension (9); in a gap a sum of ranks
  function above(m, x, [q, delta]) {
    const D = div(ONE, add(ONE, delta)), arg = ([a, b]) => Math.atan2(Math.max(b, 0), a);
    let sum = m.psiP * arg([-q[0], q[1]]) + m.psiN * arg(add(ONE, delta));
    m.values.forEach((value, k) => {
      const T = add([m.b2, 0], times(m.kappa2 * value, D));
      sum += m.weights[k] * arg(add(ONE, times(m.psiP, mul(T, q))));
    });
    const rest = mul(add([m.psiN, 0], times(m.psiP * m.v2, q)), D)[1] - m.psiP * x * q[1];
    return (sum + rest) / Math.PI;
  }

  // ----------------------------------------------------------------------------------------------
  // the bulks: gaps are where the number above is one of a few sums of ranks

  const inBulk = (u) => u[0][1] > 1e-9 * size(u[0]);

  // total rank, and the sums of ranks that may lie above a gap: the weights of the largest or of
  // the smallest eigenvalues of Sigma, without or with the n columns
  function levels(m) {
    const total = Math.min(m.psiP, 1 + m.psiN);
    const order = m.values.map((_, k) => k).sort((i, j) => m.values[j] - m.values[i]);
    const all = [0, m.psiN];
    for (const from of [order, order.slice().reverse()]) {
      let sum = 0;
      for (const k of from) {
        sum += m.weights[k];
        all.push(sum, sum + m.psiN);
      }
    }
    const inside = all.filter((level) => level > 1e-12 && level < total - 1e-12);
    inside.sort((a, b) => a - b);
    return {total, inside: inside.filter((x, i) => i === 0 || x > inside[i - 1] + 1e-12)};
  }

  // where so many eigenvalues lie above, give or take some; `gap` says whether that is a gap
  function placeOf(m, level, low, high, some = 0) {
    let x = high;
    while (high / low > 1 + 1e-12) {
      x = Math.sqrt(low * high);
      const u = solve(m, x), number = above(m, x, u), gap = !inBulk(u);
      if (gap && Math.abs(number - level) < 1e-9) return {x, gap};
      if (!gap && Math.abs(number - level) < some) break;
      if (number > level) low = x;
      else high = x;
    }
    return {x, gap: false};
  }

  // the end of a bulk between a point in a gap and one inside: (Im q)^2 is analytic there
  function edge(m, gap, inner) {
    let outside = gap, inside = inner, near = null;
    while (Math.abs(inside - outside) > 1e-5 * Math.min(Math.abs(inner - outside), inside)) {
      const far = inside > 1.1 * outside || outside > 1.1 * inside;
      const x = far ? Math.sqrt(inside * outside) : (inside + outside) / 2;
      const u = solve(m, x, near);
      if (inBulk(u)) [inside, near] = [x, u];
      else outside = x;
    }
    const h = inside - outside;
    const [f0, f1, f2] = [0, 1, 2].map((k) => solve(m, inside + k * h, near)[0][1] ** 2);
    // the parabola through three points inside, and its root
    const a = (f2 - 2 * f1 + f0) / 2, b = (4 * f1 - 3 * f0 - f2) / 2;
    return inside - (h * 2 * f0) / (b + Math.sqrt(b * b - 4 * a * f0));
  }

  function bulks(m) {
    const top = bound(m) * 1.0001, bottom = top * 1e-18, {total, inside} = levels(m);
    const gaps = [{x: top, level: 0}];
    for (const level of inside) {
      const {x, gap} = placeOf(m, level, bottom, gaps[gaps.length - 1].x);
      if (gap) gaps.push({x, level});
    }
    gaps.push({x: bottom, level: total});
    const found = [];
    for (let i = 1; i < gaps.length; i++) {
      const [high, low] = [gaps[i - 1], gaps[i]];
      const within = (low.level - high.level) / 2;
      const middle = placeOf(m, high.level + within, low.x, high.x, within / 2).x;
      const hard = inBulk(solve(m, low.x)); // no gap down to the atom
      found.unshift({
        lower: m.s2 + (hard ? 0 : edge(m, low.x, middle)),
        upper: m.s2 + edge(m, high.x, middle),
        mass: (low.level - high.level) / m.psiP,
        part: parts(m, high.level, low.level, total),
      });
    }
    return found;
  }

  // the parts that lie between two levels, joined by "+" where they have merged
  function parts(m, from, to, total) {
    const population = Math.min(1, m.psiN, m.psiP);
    const sample = population + Math.max(0, Math.min(m.psiN, m.psiP) - 1);
    const ends = {population: [0, population], sample: [population, sample],
      satellite: [sample, total]};
    return Object.keys(ends).filter((name) =>
      Math.min(to, ends[name][1]) - Math.max(from, ends[name][0]) > 1e-9).join("+");
  }

  // ----------------------------------------------------------------------------------------------
  // what is drawn

  function atom(m) {
    return {location: m.s2, mass: Math.max(0, 1 - (1 + m.psiN) / m.psiP)};
  }

  // points on a bulk, dense at its ends, and the mass per unit of log(lambda) there
  function curve(m, bulk, points = 160) {
    const x = [], y = [];
    let near = null;
    for (let i = 0; i < points; i++) {
      const share = Math.sin((Math.PI * i) / (points - 1) / 2) ** 2;
      const lambda = bulk.lower * (bulk.upper / bulk.lower) ** share;
      const u = i === 0 || i === points - 1 ? null : solve(m, lambda - m.s2, near);
      near = u && inBulk(u) ? u : near;
      x.push(lambda);
      y.push(u ? (lambda * Math.max(0, u[0][1])) / Math.PI : 0);
    }
    return {x, y};
  }

  // the training time on which an eigenvalue relaxes (4)
  function relaxation(m, lambda) {
    return m.psiP / (m.beta2 * lambda);
  }

  return {constants, model, solve, density, above, bulks, atom, curve, relaxation};
})();
