module.exports = (request, response, next) =>
  request.method === 'POST' && request.path === '/api/v2/cmd/delTradeOrder' ? response.json({ order_id: 2929292929 }) : next();
